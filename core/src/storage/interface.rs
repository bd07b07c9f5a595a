//! The SQL interface: views and triggers in the file, for applications that use it with their own drivers.

/// What creates them.
pub(crate) const INTERFACE: &str = include_str!("interface.sql");

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::INTERFACE;
    use crate::engine::{pending, settle::REASON_ATTEMPTS};
    use crate::limits;

    /// The statements of the triggers, by trigger, with parameters where they name a value of the new row.
    fn steps() -> Vec<(String, String)> {
        let mut found = Vec::new();
        for trigger in INTERFACE.split("CREATE TRIGGER ").skip(1) {
            let (name, rest) = trigger.split_once(' ').expect("a name");
            let body = rest.split_once("BEGIN\n").and_then(|(_, rest)| rest.split_once("\nEND;")).expect("a body").0;
            for step in body.split(";\n") {
                let mut plain = step.trim_end_matches(';').replace("NEW.", ":");
                while let Some(start) = plain.find("RAISE(") {
                    let end = start + plain[start..].find("')").expect("the end of the text") + 2;
                    plain.replace_range(start..end, "1");
                }
                found.push((name.to_owned(), plain));
            }
        }
        found
    }

    #[test]
    fn no_step_of_a_trigger_scans_a_table() {
        let conn = Connection::open_in_memory().expect("opens");
        crate::storage::schema::migrate(&conn).expect("migrates");
        let steps = steps();
        assert!(steps.len() > 40, "{} steps were found", steps.len());
        for (trigger, sql) in steps {
            let mut plan =
                conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap_or_else(|e| panic!("{trigger}: {e}: {sql}"));
            let parameters = plan.parameter_count();
            let lines: Vec<String> = plan
                .query_map(rusqlite::params_from_iter((0..parameters).map(|_| 1)), |row| row.get(3))
                .and_then(Iterator::collect)
                .unwrap_or_else(|e| panic!("{trigger}: {e}: {sql}"));
            for line in lines {
                // Of the new row itself, and of the recursions over its values.
                let of_values = [
                    "CONSTANT",
                    "VIRTUAL TABLE",
                    "SCAN onceward_place",
                    "SCAN onceward_line",
                    "SCAN (subquery",
                    "SCAN onceward_round",
                    "SCAN clock",
                ];
                let allowed = !line.starts_with("SCAN") || of_values.iter().any(|word| line.contains(word));
                assert!(allowed && !line.contains("AUTOMATIC"), "{trigger}: {line}\n{sql}");
            }
        }
    }

    #[test]
    fn no_function_is_used_that_old_versions_of_sqlite_refuse_in_an_untrusted_schema() {
        for function in ["json", "pow(", "unixepoch(", "subsec", "octet_length(", "unhex(", "concat_ws(", "->"] {
            assert!(!INTERFACE.contains(function), "{function}");
        }
    }

    #[test]
    fn the_limits_and_constants_in_the_sql_are_the_engines() {
        for (what, value) in [
            ("length(NEW.body) > ", limits::BODY_BYTES_MAX_DEFAULT as i64),
            ("length(CAST(NEW.key AS BLOB)) NOT BETWEEN 1 AND ", limits::KEY_BYTES_MAX as i64),
            ("length(CAST(NEW.ordering_key AS BLOB)) NOT BETWEEN 1 AND ", limits::KEY_BYTES_MAX as i64),
            ("instr(line, ':') - 1) AS BLOB))) > ", limits::NAME_BYTES_MAX as i64),
            ("length(CAST(NEW.error AS BLOB)) > ", limits::TEXT_BYTES_MAX as i64),
            ("NEW.priority NOT BETWEEN 0 AND ", i64::from(limits::PRIORITY_MAX)),
            ("coalesce(NEW.priority, ", i64::from(limits::PRIORITY_DEFAULT)),
            ("NEW.delay_ms NOT BETWEEN 0 AND ", limits::DELAY_MAX.as_millis() as i64),
            ("NEW.time_to_live_ms NOT BETWEEN 1 AND ", limits::DELAY_MAX.as_millis() as i64),
            ("86400000.0) AS INTEGER) + ", limits::DELAY_MAX.as_millis() as i64),
            (" + 10 > ", limits::LANES_MAX as i64),
            ("p.due_at = ", pending::PARKED),
            ("p.due_at < ", pending::IN_DOUBT),
        ] {
            let after = INTERFACE.split(what).skip(1);
            let numbers: Vec<i64> = after
                .map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()))
                .map(|number| number.unwrap_or(i64::MIN))
                .collect();
            assert!(!numbers.is_empty() && numbers.iter().all(|number| *number == value), "{what}: {numbers:?}");
        }
        assert!(INTERFACE.contains(&format!("= ' ')) > {}\n", limits::HEADERS_BYTES_MAX)));
        assert!(INTERFACE.contains(&format!("'{REASON_ATTEMPTS}'")));
    }
}
