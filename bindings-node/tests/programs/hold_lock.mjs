// Holds SQLite's write lock through another copy of SQLite for so many milliseconds.
import Database from 'better-sqlite3';

const [path, ms] = process.argv.slice(2);
const database = new Database(path);
database.exec('BEGIN IMMEDIATE');
console.log('held');
setTimeout(() => {
  database.exec('ROLLBACK');
  database.close();
}, Number(ms));
