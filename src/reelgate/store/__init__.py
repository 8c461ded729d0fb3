"""The only layer that speaks SQL. Statements are plain functions over an open transaction."""
