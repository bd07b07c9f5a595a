//! What the file system under a store can do: free space, and whether other hosts share it.
//!
//! It owns no state and must never open a file: closing one would drop another SQLite's locks.

use super::os;
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

/// Bytes that an unprivileged program may still write on the file system of `path`.
/// A path that does not exist yet is judged by its directory.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    on_path_or_parent(path, |c_path| {
        let mut raw = MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: the path is zero-terminated and `raw` has room for the answer.
        os::retry(|| unsafe { libc::statvfs(c_path.as_ptr(), raw.as_mut_ptr()) })?;
        // SAFETY: the call succeeded, so the structure is filled.
        let answer = unsafe { raw.assume_init() };
        Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
    })
}

/// The name of the network file system that holds `path`, or None if it is local.
/// A path that does not exist yet is judged by its directory.
pub(crate) fn file_system_is_remote(path: &Path) -> io::Result<Option<&'static str>> {
    on_path_or_parent(path, |c_path| {
        let mut raw = MaybeUninit::<libc::statfs>::uninit();
        // SAFETY: the path is zero-terminated and `raw` has room for the answer.
        os::retry(|| unsafe { libc::statfs(c_path.as_ptr(), raw.as_mut_ptr()) })?;
        // SAFETY: the call succeeded, so the structure is filled.
        let answer = unsafe { raw.assume_init() };
        #[allow(clippy::unnecessary_cast, reason = "the field has another type with musl")]
        Ok(remote_name(answer.f_type as i64))
    })
}

/// The network file system whose magic number is `f_type`. FUSE is not one: it serves local disks as well.
pub(crate) fn remote_name(f_type: i64) -> Option<&'static str> {
    // Magic numbers are 32 bits; where the field is signed and narrow, the upper half is only its sign.
    Some(match f_type as u32 {
        0x6969 => "NFS",
        0x517B => "SMB",
        0xFF53_4D42 => "CIFS",
        0xFE53_4D42 => "SMB2",
        0x0102_1997 => "9p",
        0x00C3_6400 => "Ceph",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x564C => "NCP",
        0x4750_4653 => "GPFS",
        0x0BD0_0BD0 => "Lustre",
        0x7461_636F => "OCFS2",
        0x0116_1970 => "GFS2",
        0x1983_0326 => "BeeGFS",
        0xAAD7_AAEA => "PanFS",
        0x786F_4256 => "vboxsf",
        0xBACB_ACBC => "vmhgfs",
        _ => return None,
    })
}

fn on_path_or_parent<T>(path: &Path, ask: impl Fn(CString) -> io::Result<T>) -> io::Result<T> {
    match ask(os::c_path(path)?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            ask(os::c_path(parent)?)
        }
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_magic_number() {
        assert_eq!(remote_name(0x6969), Some("NFS"));
        assert_eq!(remote_name(0xFE53_4D42), Some("SMB2"));
        assert_eq!(remote_name(i64::from(0xFF53_4D42_u32.cast_signed())), Some("CIFS"), "a sign-extended field");
        assert_eq!(remote_name(0x0102_1997), Some("9p"));
        assert_eq!(remote_name(0xEF53), None, "ext4");
        assert_eq!(remote_name(0x6573_5546), None, "FUSE");
    }

    #[test]
    fn a_file_that_does_not_exist_yet_is_judged_by_its_directory() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let missing = folder.path().join("app.db");
        assert!(free_bytes(&missing).expect("free space") > 0);
        assert_eq!(file_system_is_remote(&missing).expect("kind"), None);
        assert!(free_bytes(Path::new("not-there-relative.db")).expect("free space of .") > 0);
        assert!(free_bytes(&folder.path().join("no").join("where")).is_err());
    }
}
