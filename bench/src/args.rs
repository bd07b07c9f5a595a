//! The command line, and the plan of a run that the measurements read.

use std::path::PathBuf;

use crate::measure::Outcome;

/// Shown by `--help`.
pub(crate) const HELP: &str = "\
Measures Onceward beside bare SQLite and prints a table with every speed target: met or NOT MET.

usage: cargo run --release -p onceward-bench -- [options]
  --check       exit with 1 when a target is not met
  --only NAME   only this measurement (may be repeated; see --list)
  --list        name the measurements and stop
  --runs N      runs of each measurement, the median counts (default 9)
  --dir PATH    put the work folder there (default: beside this program; never on tmpfs, because syncing must be real)
  --small       tiny sizes, to test the program itself: figures are printed, not judged
";

const RUNS_DEFAULT: usize = 9;
const RUNS_SMALL: usize = 2;

/// The parsed command line.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Args {
    pub(crate) check: bool,
    pub(crate) help: bool,
    pub(crate) list: bool,
    pub(crate) small: bool,
    pub(crate) runs: usize,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) only: Vec<String>,
}

impl Args {
    pub(crate) fn parse(words: &[String]) -> Outcome<Self> {
        let mut args = Args::default();
        let mut runs = None;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} takes a value"));
            match word.as_str() {
                "--check" => args.check = true,
                "--help" | "-h" => args.help = true,
                "--list" => args.list = true,
                "--small" => args.small = true,
                "--only" => args.only.push(value()?.clone()),
                "--dir" => args.dir = Some(PathBuf::from(value()?)),
                "--runs" => {
                    let text = value()?;
                    let number = text.parse().ok().filter(|number| (1..=1000).contains(number));
                    runs = Some(number.ok_or_else(|| format!("--runs is {text:?}; it takes 1 to 1000"))?);
                }
                other => return Err(format!("unknown argument {other:?}; see --help").into()),
            }
        }
        args.runs = runs.unwrap_or(if args.small { RUNS_SMALL } else { RUNS_DEFAULT });
        Ok(args)
    }
}

/// What a measurement needs to know: where to work, how often, and whether only the program is under test.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dir: PathBuf,
    pub(crate) runs: usize,
    pub(crate) small: bool,
}

impl Plan {
    /// A size: `full` for a measurement, `small` for a test of the program.
    pub(crate) fn size(&self, full: usize, small: usize) -> usize {
        if self.small { small } else { full }
    }

    /// The path of a file in the work folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Removes a database and its companions.
    pub(crate) fn remove(&self, name: &str) -> Outcome<()> {
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Empties the work folder: the next measurement starts on fresh files.
    pub(crate) fn clear(&self) -> Outcome<()> {
        self.remove("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Args> {
        Args::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read_and_wrong_ones_named() {
        let args = parse("--check --only wake-up --only memory --runs 3").expect("valid");
        assert!(args.check && args.runs == 3 && args.only == ["wake-up", "memory"]);
        assert_eq!(parse("--small").expect("valid").runs, RUNS_SMALL);
        for (line, named) in [("--fast", "--fast"), ("--runs 0", "\"0\""), ("--dir", "--dir")] {
            assert!(parse(line).expect_err("refused").to_string().contains(named), "{line}");
        }
    }
}
