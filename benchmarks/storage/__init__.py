"""The backed-up storage beside its published version, SQLite and queues on disk."""
