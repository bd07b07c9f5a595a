//! The process under test: does one job in a folder, and writes its history there.

use std::path::Path;
use std::process::ExitCode;

use onceward_hostile::actor::Errors;
use onceward_hostile::workload::{self, Run};
use onceward_hostile::{effects, faults, full, kills, plain};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [folder, job, ref rest @ ..] = words[..] else {
        eprintln!("usage: hostile-driver FOLDER JOB [WORD ...]");
        return ExitCode::FAILURE;
    };
    let folder = Path::new(folder);
    let result = match (job, rest) {
        ("plain", [synchronous, commits, seed]) => {
            plain::work(folder, synchronous, number(commits), number(seed)).map_err(|error| error.to_string())
        }
        ("run", [lives, threads, steps, seed]) => {
            let run =
                Run { lives: number(lives) as u32, threads: number(threads), steps: number(steps), seed: number(seed) };
            workload::run(folder, run).map(|errors| report(&errors)).map_err(|error| error.to_string())
        }
        ("faulty", [threads, steps, seed]) => {
            faults::work(folder, number(threads), number(steps), number(seed)).map(|errors| report(&errors))
        }
        ("worker", [process, seed]) => kills::work(folder, number(process) as u32, number(seed)),
        ("effects", [messages]) => effects::work(folder, number(messages)).map_err(|error| error.to_string()),
        ("fill", [process, bytes]) => full::fill(folder, number(process) as u32, number(bytes) as usize),
        _ => Err(format!("unknown job {job} {rest:?}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// One line per kind of error: the kind, how often, and the first message.
fn report(errors: &Errors) {
    for (kind, (count, text)) in errors.lock().expect("no panic while counting").iter() {
        println!("{kind} {count} {text}");
    }
}
