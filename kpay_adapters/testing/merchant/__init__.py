"""
What a merchant sees, as a state machine: it asks for anything in any order, and knows what must be true then.
"""
