SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  // Nothing is sent to a validator on the web.
  validatorUrl: null,
});
