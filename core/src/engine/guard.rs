//! What the application's statements may touch, inside a transaction of its own on the writing connection.

use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// How the names of our tables begin.
pub(crate) const OURS: &str = "onceward_";

/// The views that the application's statements may insert into.
const WRITTEN: [&str; 3] = ["onceward_send", "onceward_ack", "onceward_nack"];
/// The views that they may read.
const READ: [&str; 3] = ["onceward_inflight", "onceward_dead_letters", "onceward_queues"];
/// The views and triggers beneath which our own statements run.
const BENEATH: [&str; 13] = [
    "onceward_check_text_insert",
    "onceward_send_insert",
    "onceward_send_checked_insert",
    "onceward_lane_open_insert",
    "onceward_send_new_insert",
    "onceward_ack_insert",
    "onceward_nack_insert",
    "onceward_settle_insert",
    "onceward_settle_held_insert",
    "onceward_log",
    "onceward_inflight",
    "onceward_dead_letters",
    "onceward_queues",
];

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

/// What a statement of the application may do: anything to its own tables, and to ours what the views of the file do.
fn authorize(context: &AuthContext<'_>) -> Authorization {
    let among = |names: &[&str], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if context.accessor.is_some_and(|accessor| among(&BENEATH, accessor)) {
        return Authorization::Allow;
    }
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
        AuthAction::Insert { table_name } if among(&WRITTEN, table_name) => Authorization::Allow,
        AuthAction::Read { table_name, .. } if among(&WRITTEN, table_name) || among(&READ, table_name) => {
            Authorization::Allow
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trigger_and_every_view_with_rows_is_known_to_the_guard() {
        let sql = include_str!("../storage/interface.sql");
        let created = |what: &str| -> Vec<String> {
            let names = sql.split(what).skip(1).filter_map(|rest| rest.split([' ', '(']).next());
            names.map(str::to_owned).collect()
        };
        let triggers = created("CREATE TRIGGER ");
        let with_rows = created("CREATE VIEW ").into_iter().filter(|view| !triggers.contains(&format!("{view}_insert")));
        let mut beneath: Vec<String> = with_rows.chain(triggers.clone()).collect();
        beneath.sort();
        let mut known: Vec<&str> = BENEATH.to_vec();
        known.sort_unstable();
        assert_eq!(known, beneath);
        assert!(WRITTEN.iter().all(|view| triggers.contains(&format!("{view}_insert"))));
        assert!(READ.iter().all(|view| BENEATH.contains(view)));
    }
}
