//! How a store stands in its SQLite file: the schema, its versions, opening connections, and what SQLite's errors mean.
//!
//! Owns every connection setting. Must never open a database file except through SQLite: closing any other descriptor of it
//! would drop the locks of another SQLite in this process.

pub(crate) mod connection;
pub(crate) mod convert;
pub(crate) mod interface;
pub(crate) mod schema;
