//! A third party without idempotency, for the tests: it counts what it carries out.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::cell::RefCell;

use onceward::{Called, Delivery, Error, OnceOptions, Probed, Result};

#[derive(Default)]
pub(crate) struct Bank {
    paid: RefCell<Vec<String>>,
}

impl Bank {
    pub(crate) fn paid(&self) -> usize {
        self.paid.borrow().len()
    }

    pub(crate) fn pay(&self, what: &str) -> Called {
        self.paid.borrow_mut().push(what.to_owned());
        Called::Done(receipt(what))
    }

    /// It is carried out, and the answer is lost.
    pub(crate) fn pay_without_answer(&self, what: &str) -> Called {
        self.pay(what);
        Called::Unknown("the connection broke".to_owned())
    }

    pub(crate) fn refuse() -> Called {
        Called::Failed("no money".to_owned())
    }

    /// Whether it was carried out.
    pub(crate) fn look_up(&self, what: &str) -> Probed {
        if self.paid.borrow().iter().any(|paid| paid == what) {
            Probed::Applied(receipt(what))
        } else {
            Probed::NotApplied
        }
    }
}

pub(crate) fn receipt(what: &str) -> Vec<u8> {
    format!("paid {what}").into_bytes()
}

/// Pays for a delivery, and parks what is unknown.
pub(crate) fn charge(delivery: &Delivery, bank: &Bank) -> Result<Vec<u8>> {
    delivery.once("charge", &OnceOptions::park(), || bank.pay("x"))
}

/// Leaves a call whose outcome nobody knows.
pub(crate) fn lose(delivery: &Delivery, bank: &Bank, options: &OnceOptions) -> Error {
    let begun = delivery.begin_once("charge", options).expect("begins");
    let onceward::Begun::Call(effect) = begun else { panic!("nothing is known of it: {begun:?}") };
    effect.ended(bank.pay_without_answer("x")).expect_err("it is in doubt")
}

pub(crate) fn never() -> Called {
    panic!("it must not be called")
}

pub(crate) fn not_asked() -> Probed {
    panic!("it must not be asked")
}
