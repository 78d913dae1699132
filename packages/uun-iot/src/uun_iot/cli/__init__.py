"""The command ``uun-iot``: one module a command, imported when that command is called."""
