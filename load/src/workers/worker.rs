//! The life of a worker.

use std::{
    io::{self, Write, stdin, stdout},
    sync::mpsc::{TryRecvError, sync_channel},
};

use super::message::{Order, Told};
use crate::{clock, engine::Engine};

/// How often it tells what its clients do.
const TELL: u64 = 100 * clock::MILLISECOND;

/// Obeys until the input ends.
pub(crate) fn obey(mut engine: Engine) -> io::Result<()> {
    let (sender, orders) = sync_channel(16);
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            let order: Option<(u32, Order)> = serde_json::from_str(&line).ok();
            if order.is_none_or(|order| sender.send(order).is_err()) {
                return;
            }
        }
    });
    let mut told = Told::default();
    let (mut next, mut says_farewell, mut counts_lost) = (clock::now(), false, false);
    loop {
        match orders.try_recv() {
            Ok((number, order)) => {
                match order {
                    Order::Wanted(wanted, ledger) => {
                        engine.ledger = ledger;
                        engine.is_ledger_known = true;
                        engine.set_wanted(wanted);
                    }
                    Order::Publishing => (engine.is_ledger_known, counts_lost) = (false, false),
                    Order::Published(ledger) => {
                        engine.ledger = ledger;
                        (engine.is_ledger_known, counts_lost) = (true, true);
                    }
                    Order::Farewell => says_farewell = true,
                }
                told.order = number;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
        engine.turn(next)?;
        if says_farewell {
            told.is_farewell_said = engine.say_farewell();
        }
        if clock::now() >= next {
            next = clock::now() + TELL;
            told.standing = engine.crowd.standing();
            told.counts = engine.crowd.record.counts.clone();
            if counts_lost {
                told.lost = engine.crowd.lost(&engine.ledger);
            }
            told.cpu = clock::cpu();
            told.longest_turn = std::mem::take(&mut engine.longest_turn);
            told.set_recent(&mut engine.crowd.record.recent);
            let line = serde_json::to_string(&told).unwrap_or_default();
            let mut out = stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()?;
        }
    }
}
