//! What the application's statements may touch, inside a transaction of its own on the writing connection.

use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// How the names of our tables begin.
pub(crate) const OURS: &str = "onceward_";

/// The views that the application's statements may insert into.
const WRITTEN: [&str; 3] = ["onceward_send", "onceward_ack", "onceward_nack"];
/// The views that they may read.
const READ: [&str; 3] = ["onceward_inflight", "onceward_dead_letters", "onceward_queues"];
/// The triggers of those views: beneath them our own statements run.
const TRIGGERS: [&str; 9] = [
    "onceward_check_text_insert",
    "onceward_send_insert",
    "onceward_send_checked_insert",
    "onceward_lane_open_insert",
    "onceward_send_new_insert",
    "onceward_ack_insert",
    "onceward_nack_insert",
    "onceward_settle_insert",
    "onceward_settle_held_insert",
];
/// What else reads our tables beneath them: a view, and the WITH clauses of views and triggers.
const READERS: [&str; 8] = [
    "onceward_log",
    "onceward_place",
    "onceward_line",
    "onceward_round",
    "onceward_header",
    "onceward_held",
    "onceward_died",
    "onceward_counted",
];

/// What the connection's authorizer shares with whoever runs statements.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Set while a statement of the application is prepared or run.
    pub(crate) on: AtomicBool,
    /// Set when such a statement alters a table.
    pub(crate) altering: AtomicBool,
    /// Set when such a statement itself names nothing of ours but the views. SQLite asks without the name of the view for
    /// tables beneath it of which no column is read.
    pub(crate) names_views: AtomicBool,
}

impl Guard {
    pub(crate) fn check(&self, context: &AuthContext<'_>) -> Authorization {
        if !self.on.load(Ordering::Relaxed) {
            return Authorization::Allow;
        }
        if matches!(context.action, AuthAction::AlterTable { .. }) {
            self.altering.store(true, Ordering::Relaxed);
        }
        if let AuthAction::Read { column_name: "", .. } = context.action
            && self.names_views.load(Ordering::Relaxed)
        {
            return Authorization::Allow;
        }
        authorize(context)
    }
}

/// Whether a statement names what only our own views and triggers may be named. SQLite tells the authorizer of a WITH clause
/// of the application by its name alone: one that took such a name would pass for ours.
pub(crate) fn poses_as_ours(sql: &str) -> bool {
    names_of_ours(sql).iter().any(|name| TRIGGERS.contains(&name.as_str()) || READERS.contains(&name.as_str()))
}

/// Whether a statement names the views that are for it, and nothing else of ours.
pub(crate) fn names_views(sql: &str) -> bool {
    let names = names_of_ours(sql);
    names.iter().all(|name| WRITTEN.contains(&name.as_str()) || READ.contains(&name.as_str()))
}

fn names_of_ours(sql: &str) -> Vec<String> {
    let sql = sql.to_ascii_lowercase();
    let words = sql.split(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '$');
    words.filter(|word| word.starts_with(OURS)).map(str::to_owned).collect()
}

/// What a statement of the application may do: anything to its own tables, and to ours what the views of the file do.
fn authorize(context: &AuthContext<'_>) -> Authorization {
    let among = |names: &[&str], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    let beneath = |names: &[&str]| context.accessor.is_some_and(|accessor| among(names, accessor));
    if beneath(&TRIGGERS) {
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
        AuthAction::Read { table_name, .. }
            if beneath(&READERS) || among(&WRITTEN, table_name) || among(&READ, table_name) =>
        {
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
    fn the_guard_knows_every_trigger_and_everything_that_reads_beneath_the_views() {
        let sql = crate::storage::interface::INTERFACE;
        let created = |what: &str| -> Vec<&str> {
            let names = sql.split(what).skip(1).filter_map(|rest| rest.split([' ', '(']).next());
            let mut names: Vec<&str> = names.collect();
            names.sort_unstable();
            names
        };
        let sorted = |names: &[&'static str]| -> Vec<&str> {
            let mut names = names.to_vec();
            names.sort_unstable();
            names
        };
        assert_eq!(created("CREATE TRIGGER "), sorted(&TRIGGERS));
        let views = created("CREATE VIEW ");
        let plain = created("WITH ").into_iter().filter(|name| name.starts_with(OURS));
        let mut readers: Vec<&str> =
            created("WITH RECURSIVE ").into_iter().chain(plain).chain(["onceward_log"]).collect();
        readers.sort_unstable();
        assert_eq!(readers, sorted(&READERS));
        assert_eq!(
            views.len(),
            TRIGGERS.len() + READ.len() + 1,
            "each view is written through a trigger, or read: {views:?}"
        );
        assert!(WRITTEN.iter().all(|view| TRIGGERS.contains(&format!("{view}_insert").as_str())));
        assert!(
            poses_as_ours("WITH Onceward_Held AS (SELECT 1) SELECT 2") && !poses_as_ours("SELECT * FROM onceward_send")
        );
    }
}
