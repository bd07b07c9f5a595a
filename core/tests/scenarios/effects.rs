//! Steps about transactions, calls at third parties, and doubts.

use onceward::{
    Begun, Called, Delivery, Effect, EffectOf, InDoubt, Ledger, LedgerOptions, OnUnknown, OnceOptions, Probe, Probed,
    Resolution, Result, Rows, Store, Transaction, Value,
};

use crate::process::say;
use crate::show;
use crate::step::{Outcome, Step, bytes, mistake, text};
use crate::storing::window;
use crate::world::{Form, Receiver, World, named};

pub(crate) fn take(world: &mut World, verb: &str, step: &mut Step) -> Option<Outcome> {
    Some(match verb {
        "transaction" => transaction(world, step),
        "execute" | "execute_many" | "query" => sql(world, verb, step),
        "apply" => apply(world, step),
        "tx_ack" => tx_ack(world, step),
        "commit" | "rollback" => end(world, verb, step),
        "ledger" => ledger(world, step),
        "ledgers" => world.store(step).and_then(|store| Ok(show::texts(&api!(Store::ledgers(store))?))),
        "once" => once(world, step),
        "calls" => {
            let (calls, probes) = std::mem::take(&mut world.calls);
            Ok(format!("calls={calls} probes={probes}"))
        }
        "idempotency_key" => idempotency_key(world, step),
        "in_doubt" => in_doubt(world, step),
        "resolve" => resolve(world, step),
        "resolutions" => resolutions(world, step),
        _ => return None,
    })
}

/// Of a delivery, or of the store.
fn begin(world: &mut World, step: &mut Step) -> Outcome<Transaction> {
    match step.option("of") {
        Some(name) => Ok(api!(Delivery::transaction(named(&mut world.deliveries, &name)?))?),
        None => Ok(api!(Store::transaction(world.store(step)?))?),
    }
}

fn transaction(world: &mut World, step: &mut Step) -> Outcome {
    let name = step.word()?;
    let transaction = begin(world, step)?;
    assert!(!api!(Transaction::is_begun(&transaction)), "nothing is locked before the first statement");
    world.transactions.insert(name, transaction);
    Ok("ok".to_owned())
}

fn value(word: &str) -> Outcome<Value> {
    Ok(match (word, word.split_once(':')) {
        ("null", _) => Value::Null,
        (_, Some(("i", integer))) => Value::Integer(integer.parse().or_else(|_| mistake(word))?),
        (_, Some(("r", real))) => Value::Real(real.parse().or_else(|_| mistake(word))?),
        (_, Some(("t", words))) => Value::Text(text(words)),
        (_, Some(("b", digits))) => Value::Blob(bytes(&format!("hex:{digits}"))),
        _ => return mistake(format!("{word} is no value")),
    })
}

fn values(words: &[String]) -> Outcome<Vec<Value>> {
    words.iter().map(|word| value(word)).collect()
}

fn sql(world: &mut World, verb: &str, step: &mut Step) -> Outcome {
    let name = step.word()?;
    let statement = step.word()?;
    let transaction = named(&mut world.transactions, &name)?;
    let words = step.rest();
    if verb == "execute_many" {
        let sets: Vec<Vec<Value>> = words.split(|word| word == "/").map(values).collect::<Outcome<_>>()?;
        return Ok(api!(Transaction::execute_many(transaction, &statement, &sets))?.to_string());
    }
    let parameters = values(&words)?;
    if verb == "execute" {
        return Ok(api!(Transaction::execute(transaction, &statement, &parameters))?.to_string());
    }
    let Rows { columns, rows } = api!(Transaction::query(transaction, &statement, &parameters))?;
    let row = |row: &Vec<Value>| row.iter().map(show::value).collect::<Vec<_>>().join(",");
    let all: Vec<String> = std::iter::once(columns.join(",")).chain(rows.iter().map(row)).collect();
    Ok(all.join(" "))
}

/// One statement in a transaction of its own.
fn apply(world: &mut World, step: &mut Step) -> Outcome {
    let mut transaction = begin(world, step)?;
    let statement = step.word()?;
    let parameters = values(&step.rest())?;
    let changed = api!(Transaction::execute(&mut transaction, &statement, &parameters))?;
    api!(Transaction::commit(transaction))?;
    Ok(changed.to_string())
}

fn tx_ack(world: &mut World, step: &mut Step) -> Outcome {
    let name = step.word()?;
    let receiver = match world.receiver(step)? {
        Receiver::Queue(queue) => queue.default_subscription()?,
        Receiver::Subscription(subscription) => subscription,
    };
    let receipts = world.receipts_of(&step.repeated()?)?;
    api!(Transaction::ack(named(&mut world.transactions, &name)?, &receiver, &receipts))?;
    Ok("ok".to_owned())
}

fn end(world: &mut World, verb: &str, step: &mut Step) -> Outcome {
    let name = step.word()?;
    let Some(transaction) = world.transactions.remove(&name) else {
        return mistake(format!("nothing is named {name}"));
    };
    if verb == "commit" {
        api!(Transaction::commit(transaction))?;
    } else {
        api!(Transaction::rollback(transaction));
    }
    Ok("ok".to_owned())
}

fn ledger(world: &mut World, step: &mut Step) -> Outcome {
    let word = step.word()?;
    let name = text(&word);
    let window = window(step)?;
    let store = world.store(step)?;
    let ledger = match window {
        Some(window) => {
            let options = api!(LedgerOptions::window(api!(LedgerOptions::new()), window));
            api!(Store::ledger_with(store, &name, &options))?
        }
        None => api!(Store::ledger(store, &name))?,
    };
    assert_eq!(api!(Ledger::name(&ledger)), name);
    world.ledgers.insert(word, ledger);
    Ok("ok".to_owned())
}

/// Whose effect: a delivery, or a ledger.
enum Subject {
    Delivery(String),
    Ledger(String),
}

fn subject(world: &World, name: String) -> Outcome<Subject> {
    match (world.deliveries.contains_key(&name), world.ledgers.contains_key(&name)) {
        (true, _) => Ok(Subject::Delivery(name)),
        (_, true) => Ok(Subject::Ledger(name)),
        _ => mistake(format!("no delivery and no ledger is named {name}")),
    }
}

fn once_options(form: Form, step: &mut Step) -> Outcome<OnceOptions> {
    let settle = step.duration("settle")?;
    let mut options = match (step.needed("on_unknown")?.as_str(), settle) {
        ("park", None) if form == Form::Other => api!(OnceOptions::new(OnUnknown::Park)),
        ("park", None) => api!(OnceOptions::park()),
        ("fail", None) => api!(OnceOptions::fail()),
        ("probe", Some(settle)) => api!(OnceOptions::probe(settle)),
        _ => return mistake("on_unknown is park, fail, or probe with settle="),
    };
    if let Some(window) = step.duration("idempotent_for")? {
        options = api!(OnceOptions::idempotent_for(options, window));
    }
    if let Some(wait) = step.duration("wait")? {
        options = api!(OnceOptions::wait(options, wait));
    }
    if let Some(request) = step.option("request") {
        options = api!(OnceOptions::request(options, bytes(&request)));
    }
    Ok(options)
}

fn called(word: &str) -> Called {
    match word.split_once(':') {
        Some(("done", result)) => Called::Done(bytes(result)),
        Some(("failed", why)) => Called::Failed(why.to_owned()),
        Some(("unknown", why)) => Called::Unknown(why.to_owned()),
        _ => hang(),
    }
}

/// Says that the call is made, and never comes back from it.
fn hang() -> ! {
    say("calling");
    loop {
        std::thread::park();
    }
}

fn probed(word: &str) -> Probed {
    match word.split_once(':') {
        Some(("applied", result)) => Probed::Applied(bytes(result)),
        Some((_, why)) => Probed::Unknown(why.to_owned()),
        None => Probed::NotApplied,
    }
}

fn once(world: &mut World, step: &mut Step) -> Outcome {
    let subject = subject(world, step.word()?)?;
    let name = text(&step.word()?);
    let call = step.needed("call")?;
    let probe = step.option("probe");
    let form = world.form;
    let options = once_options(form, step)?;
    step.finish()?;
    let (calls, probes) = (&mut world.calls.0, &mut world.calls.1);
    let make = || {
        *calls += 1;
        called(&call)
    };
    let (deliveries, ledgers) = (&world.deliveries, &world.ledgers);
    let result = match (form, subject, probe) {
        (Form::Other, subject, probe) => {
            let (begun, at_once) = match &subject {
                Subject::Delivery(one) => (api!(Delivery::begin_once(&deliveries[one], &name, &options)), false),
                Subject::Ledger(one) => (api!(Ledger::begin_once(&ledgers[one], &name, &options)), true),
            };
            by_hand(begun?, make, at_once, probe.as_deref(), probes)
        }
        (_, Subject::Delivery(one), None) => api!(Delivery::once(&deliveries[&one], &name, &options, make)),
        (_, Subject::Ledger(one), None) => api!(Ledger::once(&ledgers[&one], &name, &options, make)),
        (_, subject, Some(probe)) => {
            let ask = || {
                *probes += 1;
                probed(&probe)
            };
            match &subject {
                Subject::Delivery(one) => api!(Delivery::once_or_probe(&deliveries[one], &name, &options, make, ask)),
                Subject::Ledger(one) => api!(Ledger::once_or_probe(&ledgers[one], &name, &options, make, ask)),
            }
        }
    };
    Ok(show::bytes(&result?))
}

/// The same, begun and ended by hand: by one function for every end, or by one for each.
fn by_hand(
    begun: Begun,
    call: impl FnOnce() -> Called,
    at_once: bool,
    probe: Option<&str>,
    probes: &mut usize,
) -> Result<Vec<u8>> {
    match begun {
        Begun::Done(result) => Ok(result),
        Begun::Call(effect) if at_once => api!(Effect::ended(effect, call())),
        Begun::Call(effect) => match call() {
            Called::Done(result) => api!(Effect::done(effect, result)),
            Called::Failed(why) => Err(api!(Effect::failed(effect, &why))),
            Called::Unknown(why) => Err(api!(Effect::unknown(effect, &why))),
        },
        Begun::Probe(asked) => {
            *probes += 1;
            match probed(probe.expect("the options ask for a probe")) {
                Probed::Applied(result) => api!(Probe::applied(asked, result)),
                Probed::NotApplied => by_hand(api!(Probe::not_applied(asked))?, call, at_once, probe, probes),
                Probed::Unknown(why) => Err(api!(Probe::unknown(asked, &why))),
            }
        }
    }
}

/// Keys are shown by the order in which they were first seen.
fn idempotency_key(world: &mut World, step: &mut Step) -> Outcome {
    let subject = subject(world, step.word()?)?;
    let name = text(&step.word()?);
    let key = match subject {
        Subject::Delivery(one) => api!(Delivery::idempotency_key(&world.deliveries[&one], &name))?,
        Subject::Ledger(one) => api!(Ledger::idempotency_key(&world.ledgers[&one], &name))?,
    };
    assert_eq!(key.len(), 36);
    let at = world.keys.iter().position(|known| *known == key).unwrap_or_else(|| {
        world.keys.push(key);
        world.keys.len() - 1
    });
    Ok(format!("key {}", at + 1))
}

fn doubt(world: &World, name: &str) -> Outcome<u64> {
    match (world.doubts.get(name), name.parse()) {
        (Some(doubt), _) => Ok(*doubt),
        (None, Ok(number)) => Ok(number),
        (None, Err(_)) => mistake(format!("no doubt is named {name}")),
    }
}

fn owner(world: &World, field: &str, of: &EffectOf) -> Option<String> {
    Some(match (field, of) {
        ("queue", EffectOf::Message { queue, .. }) => queue.clone(),
        ("subscription", EffectOf::Message { subscription, .. }) => show::text(subscription.as_deref()),
        ("message", EffectOf::Message { message, .. }) => world.names.of(*message),
        ("ledger", EffectOf::Ledger { ledger }) => ledger.clone(),
        ("queue" | "subscription" | "message" | "ledger", _) => "-".to_owned(),
        _ => return None,
    })
}

fn page(world: &World, step: &mut Step) -> Outcome<(Option<u64>, usize, String)> {
    let after = step.option("after").map(|name| doubt(world, &name)).transpose()?;
    let show = step.option("show").unwrap_or_else(|| "name".to_owned());
    Ok((after, step.number("max")?.unwrap_or(100), show))
}

fn in_doubt(world: &mut World, step: &mut Step) -> Outcome {
    let (after, max, shown) = page(world, step)?;
    let listed: Vec<InDoubt> = api!(Store::in_doubt(world.store(step)?, after, max))?;
    if let Some(begin) = step.option("as") {
        for (index, one) in listed.iter().enumerate() {
            world.doubts.insert(format!("{begin}{}", index + 1), one.doubt);
        }
    }
    let field = |one: &InDoubt, field: &str| match field {
        "name" => Some(show::bytes(one.name.as_bytes())),
        "key" => Some(show::text(one.key.as_deref())),
        other => owner(world, other, &one.of),
    };
    let all = listed.iter().map(|one| {
        assert!(one.called_at <= one.since && one.process > 0 && !one.error.is_empty());
        show::fields(&shown, |name| field(one, name))
    });
    Ok(show::list(&all.collect::<Outcome<Vec<_>>>()?))
}

fn resolve(world: &mut World, step: &mut Step) -> Outcome {
    let doubt = doubt(world, &step.word()?)?;
    let resolution = match step.option("applied") {
        Some(result) => Resolution::Applied(bytes(&result)),
        None if step.word()? == "not_applied" => Resolution::NotApplied,
        None => return mistake("a resolution is applied=RESULT or not_applied"),
    };
    let (evidence, actor) = (text(&step.needed("evidence")?), text(&step.needed("actor")?));
    api!(Store::resolve(world.store(step)?, doubt, resolution, &evidence, &actor))?;
    Ok("ok".to_owned())
}

fn resolutions(world: &mut World, step: &mut Step) -> Outcome {
    let (after, max, shown) = page(world, step)?;
    let listed = api!(Store::resolutions(world.store(step)?, after, max))?;
    let all = listed.iter().map(|one| {
        assert!(one.since <= one.resolved_at && one.doubt > 0 && !one.error.is_empty());
        show::fields(&shown, |field| {
            Some(match (field, &one.resolution) {
                ("name", _) => show::bytes(one.name.as_bytes()),
                ("evidence", _) => show::bytes(one.evidence.as_bytes()),
                ("actor", _) => show::bytes(one.actor.as_bytes()),
                ("resolution", Resolution::Applied(result)) => format!("applied:{}", show::bytes(result)),
                ("resolution", Resolution::NotApplied) => "not_applied".to_owned(),
                (other, _) => return owner(world, other, &one.of),
            })
        })
    });
    Ok(show::list(&all.collect::<Outcome<Vec<_>>>()?))
}
