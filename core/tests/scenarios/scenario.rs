//! Reading scenarios, and comparing what each step answers with what it says.

use std::path::{Path, PathBuf};

use crate::step::words;
use crate::world::{Form, World};

/// The folder of the scenarios.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios")
}

/// A line: where it stands, the step, and the answer that it must have.
pub(crate) struct Line {
    at: String,
    step: String,
    answer: Option<String>,
}

pub(crate) struct Scenario {
    pub(crate) title: String,
    /// What it covers besides its steps, such as a limit.
    pub(crate) covers: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

impl Scenario {
    pub(crate) fn of(title: &str, steps: &str) -> Self {
        let mut scenario = Scenario { title: title.to_owned(), covers: Vec::new(), lines: Vec::new() };
        steps.lines().enumerate().for_each(|(index, line)| scenario.add(&format!("line {}", index + 1), line));
        scenario
    }

    fn add(&mut self, at: &str, line: &str) {
        let (step, answer) = match line.split_once(" -> ") {
            Some((step, answer)) => (step.trim(), Some(answer.trim().to_owned())),
            None => (line.trim(), None),
        };
        self.lines.push(Line { at: at.to_owned(), step: step.to_owned(), answer });
    }

    /// The answers that are errors.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| line.answer.as_deref()?.strip_prefix("error "))
    }

    /// The limits that it covers.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &str> {
        self.covers.iter().filter_map(|covered| covered.strip_prefix("limit "))
    }

    /// Runs it in a folder of its own. The error says at which line it went wrong, and how.
    pub(crate) fn run(&self, form: Form) -> Result<(), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut world = World::new(folder.path(), form);
        for line in &self.lines {
            let answer = world.answer(&line.step);
            if !fits(line.answer.as_deref(), &answer) {
                let wanted = line.answer.as_deref().unwrap_or("no error");
                return Err(format!(
                    "{}: {} ({form:?})\n  {}\n  wanted: {wanted}\n  found:  {answer}",
                    line.at, self.title, line.step
                ));
            }
        }
        Ok(())
    }
}

/// Whether an answer is the one that was wanted: of an error the kind, and words that its message has.
fn fits(wanted: Option<&str>, answer: &str) -> bool {
    let is_mistake = answer.starts_with("mistake: ");
    let error = answer.strip_prefix("error ").and_then(|error| error.split_once(' '));
    let Some(wanted) = wanted else { return error.is_none() && !is_mistake };
    let Some(wanted) = wanted.strip_prefix("error ") else { return wanted == answer && !is_mistake };
    let mut wanted = words(wanted).into_iter().map(|(word, _)| word);
    let kind = wanted.next();
    error.is_some_and(|(found, message)| kind.as_deref() == Some(found) && wanted.all(|word| message.contains(&word)))
}

/// Every scenario, in the order of the files.
pub(crate) fn all() -> Vec<Scenario> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the scenarios are there")
        .map(|entry| entry.expect("reads").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "scenario"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "there are scenarios");
    let mut found: Vec<Scenario> = Vec::new();
    for path in files {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("reads");
        for (index, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            if let Some(title) = line.strip_prefix("scenario ") {
                found.push(Scenario { title: title.to_owned(), covers: Vec::new(), lines: Vec::new() });
            } else if let Some(covered) = line.strip_prefix("covers ") {
                let last = found.last_mut().expect("a scenario comes first");
                last.covers.push(covered.to_owned());
            } else if !line.is_empty() && !line.starts_with('#') {
                found.last_mut().expect("a scenario comes first").add(&format!("{name}:{index}"), line);
            }
        }
    }
    found
}
