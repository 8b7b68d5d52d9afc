"""The metadata database: relational state that does not belong in resources.

Run history, lineage, observations and the model registry live in one database, SQLite by default,
PostgreSQL and MySQL by URL. Rooms declare their tables on ``database.METADATA`` and their changes
over time as Alembic migrations in ``migrations/versions``.
"""
