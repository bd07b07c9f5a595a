//! Measures Onceward beside bare SQLite on the machine at hand, and says which of the speed targets are met.
//!
//! Every figure is the median of several runs. What is compared alternates within each run, the order swapped from run
//! to run, so that drift of the machine hits both sides. Every measurement also checks its result: what was received is
//! what was sent.

mod args;
mod bare;
mod bare_group;
mod children;
mod load;
mod machine;
mod measure;
mod ours;
mod report;
mod targets;

use std::process::ExitCode;

use args::{Args, Plan};
use measure::Outcome;
use report::Report;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = if words.first().is_some_and(|word| word == children::MARK) {
        children::run(&words[1..]).map(|()| true)
    } else {
        Args::parse(&words).and_then(|args| bench(&args))
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("onceward-bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs what the arguments ask for. False when the targets were to be checked and one is not met.
fn bench(args: &Args) -> Outcome<bool> {
    if args.help {
        print!("{}", args::HELP);
        return Ok(true);
    }
    if args.list {
        for target in targets::ALL {
            println!("{:<14} {}", target.name, target.what);
        }
        return Ok(true);
    }
    let chosen = targets::choose(&args.only)?;
    let folder = machine::WorkFolder::create(args.dir.as_deref())?;
    let plan = Plan { dir: folder.path().to_owned(), runs: args.runs, small: args.small };
    let machine = machine::describe(&plan)?;
    println!("{machine}\n");

    let usage = machine::Usage::now();
    let mut report = Report::new(args.small);
    for target in chosen {
        eprintln!("measuring {}: {} …", target.name, target.what);
        (target.run)(&plan, &mut report).map_err(|error| format!("{}: {error}", target.name))?;
        plan.clear()?;
    }
    println!("{}", report.table());
    println!("{}", report.summary(plan.runs));
    println!("{}", usage.since());
    Ok(!args.check || report.all_met())
}
