//! Whether a database has changed, asked without a statement.

use rusqlite::{Connection, ffi};
use std::ffi::c_uint;

/// A number that is another one after every change of the database, by this connection or any other. Exact inside a
/// transaction; `None` where SQLite does not say.
pub(crate) fn data_version(conn: &Connection) -> Option<u32> {
    let mut version: c_uint = 0;
    // SAFETY: the connection is open for the whole call, the name is zero-terminated, and this control writes one
    // unsigned integer to where it is pointed.
    let code = unsafe {
        ffi::sqlite3_file_control(
            conn.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_DATA_VERSION,
            std::ptr::from_mut(&mut version).cast(),
        )
    };
    (code == ffi::SQLITE_OK).then_some(version)
}
