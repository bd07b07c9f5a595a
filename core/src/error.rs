//! The one error type, and its kinds.
//!
//! A kind says what the *caller* should do next; the message says what happened, with the offending value and the
//! limit. Kinds have the same names and numbers in every language.

use std::fmt;

/// The result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller should do about an [`Error`]. The numbers are stable and the same in every language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum ErrorKind {
    /// Correct the call: an argument is out of its limits or does not belong here. Nothing was written.
    Invalid = 1,
    /// Create it first, or look elsewhere: no such queue, subscription or message.
    NotFound = 2,
    /// Decide which one is right: something else already stands under that name or key. Nothing was written.
    Conflict = 3,
    /// Drop the work: the delivery has been given to someone else, or its message is no longer there.
    LeaseLost = 4,
    /// Try again: others kept the store busy for longer than the busy timeout, or somebody is at the same effect. Nothing
    /// was written.
    Busy = 5,
    /// Free disk space (or end the reader that the message names), then try again. Nothing was written.
    Full = 6,
    /// Open a store in this process: this one was closed, or it was opened before a fork.
    Closed = 7,
    /// Stop and look: the file was moved, deleted or replaced while open. What was not acknowledged may be lost.
    Detached = 8,
    /// Restore a backup or open another file: this one is no SQLite database, or it is damaged.
    Corrupt = 9,
    /// Look at the disk: the operating system reported an input/output error. The outcome of the call is unknown.
    Storage = 10,
    /// Upgrade the library or move the file: its format is newer, or its file system cannot keep the promises.
    Unsupported = 11,
    /// Grant access: the operating system refused to open or to write the file.
    Denied = 12,
    /// Correct the statement: the application's own SQL failed inside a transaction.
    Sql = 13,
    /// Run the work again, faster: the transaction passed its time limit and was rolled back.
    Expired = 14,
    /// Find out what happened at the third party and resolve it: whether the call took effect is not known, and it is not
    /// repeated before that.
    InDoubt = 15,
    /// Repeat it later: the call is known not to have happened.
    Failed = 16,
}

impl ErrorKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [ErrorKind; 16] = [
        ErrorKind::Invalid,
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::LeaseLost,
        ErrorKind::Busy,
        ErrorKind::Full,
        ErrorKind::Closed,
        ErrorKind::Detached,
        ErrorKind::Corrupt,
        ErrorKind::Storage,
        ErrorKind::Unsupported,
        ErrorKind::Denied,
        ErrorKind::Sql,
        ErrorKind::Expired,
        ErrorKind::InDoubt,
        ErrorKind::Failed,
    ];

    /// The name, the same in every language.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorKind::Invalid => "Invalid",
            ErrorKind::NotFound => "NotFound",
            ErrorKind::Conflict => "Conflict",
            ErrorKind::LeaseLost => "LeaseLost",
            ErrorKind::Busy => "Busy",
            ErrorKind::Full => "Full",
            ErrorKind::Closed => "Closed",
            ErrorKind::Detached => "Detached",
            ErrorKind::Corrupt => "Corrupt",
            ErrorKind::Storage => "Storage",
            ErrorKind::Unsupported => "Unsupported",
            ErrorKind::Denied => "Denied",
            ErrorKind::Sql => "Sql",
            ErrorKind::Expired => "Expired",
            ErrorKind::InDoubt => "InDoubt",
            ErrorKind::Failed => "Failed",
        }
    }

    /// The number, the same in every language.
    pub const fn code(self) -> i32 {
        self as i32
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What went wrong: a kind (what to do), a message (what happened), and the source where there is one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened: lowercase, naming the value and the limit.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Error { kind, message: message.into(), source: Some(std::sync::Arc::new(source)) }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_of_the_kinds_are_distinct_and_below_one_hundred() {
        for (index, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(kind.code(), index as i32 + 1);
            assert_eq!(ErrorKind::ALL.iter().filter(|other| other.name() == kind.name()).count(), 1);
        }
    }
}
