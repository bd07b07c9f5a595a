//! Places at which a test may stop or kill the process. Without the feature `failpoints` there are none.

/// A place with a name.
#[cfg(feature = "failpoints")]
pub(crate) fn failpoint(name: &str) {
    fail::fail_point!(name);
}

/// A place with a name.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) fn failpoint(_: &str) {}
