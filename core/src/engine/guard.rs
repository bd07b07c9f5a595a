//! What the application's statements may touch, inside a transaction of its own on the writing connection.

use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// How the names of our tables begin.
pub(crate) const OURS: &str = "onceward_";

/// What the connection's authorizer shares with whoever runs statements.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Set while a statement of the application is prepared or run.
    pub(crate) on: AtomicBool,
    /// Set when such a statement alters a table.
    pub(crate) altering: AtomicBool,
}

impl Guard {
    pub(crate) fn check(&self, context: &AuthContext<'_>) -> Authorization {
        if !self.on.load(Ordering::Relaxed) {
            return Authorization::Allow;
        }
        if matches!(context.action, AuthAction::AlterTable { .. }) {
            self.altering.store(true, Ordering::Relaxed);
        }
        authorize(context)
    }
}

/// What a statement of the application may do: anything to its own tables.
fn authorize(context: &AuthContext<'_>) -> Authorization {
    let ours = |name: &str| name.to_ascii_lowercase().starts_with(OURS);
    match context.action {
        AuthAction::Pragma { .. }
        | AuthAction::Attach { .. }
        | AuthAction::Detach { .. }
        | AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. }
        // They would outlive the transaction, and hide tables of the same name from everyone else.
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. } => Authorization::Deny,
        AuthAction::Read { table_name, .. }
        | AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name }
        | AuthAction::CreateTable { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::AlterTable { table_name, .. }
        | AuthAction::CreateIndex { table_name, .. }
        | AuthAction::DropIndex { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::DropTrigger { table_name, .. }
        | AuthAction::CreateView { view_name: table_name }
        | AuthAction::DropView { view_name: table_name }
            if ours(table_name) =>
        {
            Authorization::Deny
        }
        _ => Authorization::Allow,
    }
}
