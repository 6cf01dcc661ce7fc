"""Avro: schemas and where they are kept, and messages made into events and events into messages, by column."""
