//! A step of a scenario: a verb, its words, and its options. The grammar is in `tests/scenarios/README.md`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use onceward::Error;

/// Why a step has no answer of its own.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The library refused.
    Refused(Error),
    /// The step is wrong.
    Mistake(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Refused(error)
    }
}

pub(crate) type Outcome<T = String> = Result<T, Trouble>;

pub(crate) fn mistake<T>(what: impl Into<String>) -> Outcome<T> {
    Err(Trouble::Mistake(what.into()))
}

/// The words of a line, of which those in quotes may hold spaces; and whether each began with a quote.
pub(crate) fn words(line: &str) -> Vec<(String, bool)> {
    let (mut found, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, None);
    for letter in line.chars() {
        match letter {
            '"' => {
                begun.get_or_insert(true);
                quoted = !quoted;
            }
            ' ' if !quoted => {
                if let Some(quote) = begun.take() {
                    found.push((std::mem::take(&mut word), quote));
                }
            }
            other => {
                begun.get_or_insert(false);
                word.push(other);
            }
        }
    }
    if let Some(quote) = begun {
        found.push((word, quote));
    }
    found
}

/// The bytes that a word stands for: `hex:00ff`, `x*1000`, or itself.
pub(crate) fn bytes(word: &str) -> Vec<u8> {
    if let Some(digits) = word.strip_prefix("hex:") {
        let digit = |index: usize| u8::from_str_radix(&digits[index..index + 2], 16).expect("hexadecimal digits");
        return (0..digits.len()).step_by(2).map(digit).collect();
    }
    match (word.as_bytes(), word.get(2..).and_then(|count| count.parse().ok())) {
        ([letter, b'*', ..], Some(count)) => vec![*letter; count],
        _ => word.as_bytes().to_vec(),
    }
}

pub(crate) fn text(word: &str) -> String {
    String::from_utf8(bytes(word)).expect("a text is UTF-8")
}

pub(crate) fn duration(word: &str) -> Outcome<Duration> {
    let digits = word.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(word.len());
    let unit = match &word[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return mistake(format!("{word} is no duration")),
    };
    let count: u64 = word[..digits].parse().or_else(|_| mistake(format!("{word} is no duration")))?;
    Ok(Duration::from_millis(count * unit))
}

/// What is read is taken out, so that in the end nothing may be left.
pub(crate) struct Step {
    pub(crate) verb: String,
    words: VecDeque<String>,
    options: BTreeMap<String, String>,
}

impl Step {
    pub(crate) fn parse(line: &str) -> Self {
        let mut step = Step { verb: String::new(), words: VecDeque::new(), options: BTreeMap::new() };
        for (word, quoted) in words(line) {
            let is_name =
                |name: &str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter));
            match word.split_once('=') {
                Some((name, value)) if !quoted && is_name(name) => {
                    step.options.insert(name.to_owned(), value.to_owned());
                }
                _ => step.words.push_back(word),
            }
        }
        step.verb = step.words.pop_front().unwrap_or_default();
        step
    }

    pub(crate) fn word(&mut self) -> Outcome {
        self.words.pop_front().map_or_else(|| mistake("a word is missing"), Ok)
    }

    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.words.drain(..).collect()
    }

    /// The words that are left, as often as `times` says.
    pub(crate) fn repeated(&mut self) -> Outcome<Vec<String>> {
        let times = self.number("times")?.unwrap_or(1);
        let words = self.rest();
        Ok(std::iter::repeat_n(words, times).flatten().collect())
    }

    pub(crate) fn option(&mut self, name: &str) -> Option<String> {
        self.options.remove(name)
    }

    pub(crate) fn needed(&mut self, name: &str) -> Outcome {
        self.option(name).map_or_else(|| mistake(format!("{name}= is missing")), Ok)
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.option(name).map(|word| text(&word))
    }

    pub(crate) fn yes(&mut self, name: &str) -> Outcome<Option<bool>> {
        match self.option(name).as_deref() {
            None => Ok(None),
            Some("yes") => Ok(Some(true)),
            Some("no") => Ok(Some(false)),
            Some(other) => mistake(format!("{name} is yes or no, not {other}")),
        }
    }

    pub(crate) fn number<N: std::str::FromStr>(&mut self, name: &str) -> Outcome<Option<N>> {
        let Some(word) = self.option(name) else { return Ok(None) };
        word.parse().map_or_else(|_| mistake(format!("{name} is no number: {word}")), |number| Ok(Some(number)))
    }

    pub(crate) fn duration(&mut self, name: &str) -> Outcome<Option<Duration>> {
        self.option(name).map(|word| duration(&word)).transpose()
    }

    /// The options whose names begin so, without that.
    pub(crate) fn options(&mut self, begin: &str) -> Vec<(String, String)> {
        let names: Vec<String> = self.options.keys().filter(|name| name.starts_with(begin)).cloned().collect();
        names
            .into_iter()
            .map(|name| (name[begin.len()..].to_owned(), self.options.remove(&name).unwrap_or_default()))
            .collect()
    }

    pub(crate) fn has_options(&self) -> bool {
        !self.options.is_empty()
    }

    pub(crate) fn finish(&self) -> Outcome<()> {
        match self.words.front().or_else(|| self.options.keys().next()) {
            None => Ok(()),
            Some(left) => mistake(format!("{} does not take {left}", self.verb)),
        }
    }
}
