"""Tries to write to a file with its own sqlite3, without waiting, and prints the outcome.

usage: writer.py path
"""

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO app(who) VALUES ('another process')")
    connection.execute("COMMIT")
    print("written")
except sqlite3.OperationalError as error:
    print(error)
