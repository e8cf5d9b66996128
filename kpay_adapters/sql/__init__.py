"""The stores on SQLite and PostgreSQL. `SqlStore` in `store`, the schema in `tables`, its history in `migrations`."""
