//! One client with a mailbox.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::future::join_all;
use rand::{RngExt, rngs::SmallRng};
use tokio::time::{Instant, sleep};

use super::{
    Habit,
    call::{Call, Kept, Leave, Reply, Way},
    ground::{Ground, locked},
};
use crate::{Request, history::Step};

/// How many tokens a client still sends, now and then.
const OLD_TOKENS: usize = 6;

/// A poll that does not wait and took longer has waited for more, as long as a gateway does that.
const WAITED: Duration = Duration::from_millis(900);

/// How long nothing may come while the mailbox is read to its end.
const DRAIN: Duration = Duration::from_secs(90);

/// The pause of a client that was refused: far below what it is told, so that hand-overs are in a hurry.
const REFUSED: Duration = Duration::from_millis(60);

/// How much longer each client pauses for each [`PACE`](super::ground::PACE) of clients beside it.
const CROWD_MS: u64 = 300;

/// A client that measures waits so long for an answer: longer than a poll of a second takes that is refused at last.
const UNANSWERED: Duration = Duration::from_millis(2500);

/// For how long it leaves a gateway alone that did not answer, and one that is gone.
const SILENT: Duration = Duration::from_secs(10);
const GONE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Client {
    ground: Arc<Ground>,
    number: usize,
    random: SmallRng,
    gateway: usize,
    /// The newest last.
    tokens: VecDeque<String>,
    kept: Vec<Kept>,
    /// Until when which gateway is left alone.
    avoided: Option<(usize, Instant)>,
}

impl Client {
    pub(super) fn new(ground: Arc<Ground>, number: usize, random: SmallRng) -> Self {
        let kept = ground.gateways.iter().map(|_| Kept::default()).collect();
        Self { ground, number, random, gateway: 0, tokens: VecDeque::new(), kept, avoided: None }
    }

    /// Roams, then reads the mailbox to its end.
    pub(super) async fn run(mut self, habit: Habit, drops: bool) {
        while self.ground.is_roaming() {
            match habit {
                Habit::Anything if drops && !self.tokens.is_empty() && self.random.random_ratio(1, 40) => {
                    self.drops_its_mailbox().await;
                }
                Habit::Anything => self.does_anything().await,
                Habit::TakesTurns => self.takes_its_turn().await,
                Habit::Holds => self.holds().await,
                Habit::Measures => self.measures().await,
            }
        }
        if !self.ground.has_failed() {
            self.drain().await;
        }
    }

    async fn takes_its_turn(&mut self) {
        let leave = match self.random.random_range(0..20) {
            0 => Leave::Closes,
            1..10 => Leave::Resets,
            _ => Leave::Stays,
        };
        let call = Call { limit: 3, wait: 3, ..self.call(Way::Http1, leave) };
        let reply = self.make(call).await;
        match reply {
            Reply::Refused => sleep(REFUSED).await,
            _ => self.gateway = (self.gateway + 1) % self.ground.gateways.len(),
        }
    }

    async fn holds(&mut self) {
        self.gateway = self.number % self.ground.gateways.len();
        let call = Call { limit: 100, wait: 5, ..self.call(Way::Http1, Leave::Stays) };
        if matches!(self.make(call).await, Reply::Refused | Reply::Broken) {
            sleep(REFUSED).await;
        }
    }

    async fn measures(&mut self) {
        let asked = Instant::now();
        self.avoided.take_if(|(_, until)| *until < asked);
        self.gateway = (self.gateway + 1) % self.ground.gateways.len();
        if self.avoided.is_some_and(|(gateway, _)| gateway == self.gateway) {
            self.gateway = (self.gateway + 1) % self.ground.gateways.len();
        }
        let leave = Leave::HangsUp { after: UNANSWERED, reset: false };
        let call = Call { limit: 100, wait: 1, ..self.call(Way::Http1, leave) };
        match self.make(call).await {
            Reply::Broken => {
                let time = if asked.elapsed() < UNANSWERED { GONE } else { SILENT };
                self.avoided = Some((self.gateway, asked + time));
            }
            Reply::Refused => sleep(REFUSED).await,
            Reply::Token(_) | Reply::Nothing => {}
        }
    }

    async fn does_anything(&mut self) {
        if self.random.random_ratio(1, 2) {
            self.gateway = self.random.random_range(0..self.ground.gateways.len());
        }
        let way = match self.random.random_range(0..10) {
            0..6 => Way::Http1,
            6..8 => Way::Http2,
            _ => Way::Stream,
        };
        let reply = match self.random.random_range(0..100) {
            0..8 => self.overlaps(way).await,
            // Without a token it would not be told that its mailbox was dropped.
            8..12 if !self.ground.is_dropped(self.number) => {
                let call = Call { token: None, ..self.call(way, Leave::Closes) };
                self.make(call).await
            }
            12..20 => {
                let old = self.random.random_range(0..OLD_TOKENS);
                let token = self.tokens.get(old).or(self.tokens.back()).cloned();
                let leave = self.leave();
                let call = Call { token, ..self.call(way, leave) };
                self.make(call).await
            }
            20..24 => {
                // A connection that was kept goes away, which means nothing to the client's newer ones.
                let gateway = self.random.random_range(0..self.kept.len());
                if let Some(connection) = self.kept[gateway].http1.take() {
                    connection.reset();
                }
                self.kept[gateway].http2 = None;
                return;
            }
            24..27 => return self.drains().await,
            // To the next gateway in a hurry.
            27..50 => {
                self.gateway = (self.gateway + 1) % self.ground.gateways.len();
                let call = self.call(Way::Http1, Leave::Resets);
                self.make(call).await
            }
            _ => {
                let leave = self.leave();
                let call = self.call(way, leave);
                self.make(call).await
            }
        };
        if reply == Reply::Refused {
            sleep(REFUSED).await;
        }
        let pause = match self.random.random_range(0..100) {
            0..50 => 0,
            50..85 => 20,
            85..98 => 250,
            // Longer than a gateway keeps the mailbox for its client.
            _ => 2000,
        };
        let pause = pause + (self.ground.crowd - 1) * CROWD_MS;
        sleep(Duration::from_millis(self.random.random_range(0..=pause))).await;
    }

    /// Stays away for a while, then reads without waiting until there is nothing more, as a job does that runs by a
    /// clock.
    async fn drains(&mut self) {
        self.ground.record(self.number, &Step::Drains);
        sleep(Duration::from_millis(self.random.random_range(1000..3000))).await;
        let end = Instant::now() + DRAIN;
        while Instant::now() < end && !self.ground.has_failed() {
            let call = Call { wait: 0, limit: 100, ..self.call(Way::Http1, Leave::Stays) };
            let asked = Instant::now();
            match self.make(call).await {
                Reply::Token(_) => {}
                // It has waited for what the broker should have brought by then.
                Reply::Nothing if asked.elapsed() > WAITED => return,
                Reply::Nothing => return self.ground.record(self.number, &Step::Drained),
                Reply::Refused => sleep(REFUSED).await,
                Reply::Broken => return,
            }
        }
    }

    /// Deletes its mailbox and makes it anew, naming its topics all at once.
    async fn drops_its_mailbox(&mut self) {
        // Nothing that it asked for before is on its way any more.
        self.kept.iter_mut().for_each(|kept| *kept = Kept::default());
        sleep(REFUSED * 5).await;
        self.ground.record(self.number, &Step::Dropped);
        let (name, topics) = {
            let client = locked(&self.ground.clients[self.number]);
            (client.name.clone(), client.topics.clone())
        };
        self.surely(Request::new("DELETE", &format!("/clients/{name}"))).await;
        let puts: Vec<_> = topics.split(',').map(|topic| format!("/clients/{name}/topics/{topic}")).collect();
        let anew: Vec<_> = puts.iter().map(|target| self.surely(Request::new("PUT", target))).collect();
        join_all(anew).await;
    }

    /// Sends a request to some gateway until it is answered with 204.
    fn surely(&mut self, request: Request) -> impl Future<Output = ()> + use<> {
        let gateway = self.ground.gateways[self.random.random_range(0..self.ground.gateways.len())];
        async move {
            let end = Instant::now() + DRAIN;
            loop {
                let answer = request.send(gateway).await;
                if answer.status == 204 {
                    break;
                }
                assert!(Instant::now() < end, "{answer:?}");
                sleep(REFUSED).await;
            }
        }
    }

    fn leave(&mut self) -> Leave {
        let reset = self.random.random_ratio(1, 2);
        match self.random.random_range(0..100) {
            0..35 => Leave::Stays,
            35..50 => Leave::Closes,
            50..75 => Leave::Resets,
            75..90 => {
                let most = if self.random.random_ratio(1, 2) { 10 } else { 400 };
                Leave::HangsUp { after: Duration::from_millis(self.random.random_range(0..most)), reset }
            }
            _ => Leave::BreaksOff { after: self.random.random_range(1..5), reset },
        }
    }

    /// Asks twice at once, on one gateway or on two.
    async fn overlaps(&mut self, way: Way) -> Reply {
        let (first, second) = (self.leave(), self.leave());
        let first = self.call(way, first);
        let gateway = self.random.random_range(0..self.ground.gateways.len());
        let second = Call { gateway, ..self.call(Way::Http1, second) };
        let later = Duration::from_millis(self.random.random_range(0..30));
        let (mut one, mut other) = (Kept::default(), Kept::default());
        let delayed = async {
            sleep(later).await;
            second.make(&self.ground, &mut other).await
        };
        let (first, second) = tokio::join!(first.make(&self.ground, &mut one), delayed);
        for reply in [&first, &second] {
            self.keep(reply);
        }
        second
    }

    /// Makes a call with the newest token.
    fn call(&mut self, way: Way, leave: Leave) -> Call {
        let wait = self.random.random_range(0..3);
        let limit = [1, 2, 3, 5, 100][self.random.random_range(0..5)];
        let token = self.tokens.back().cloned();
        Call { client: self.number, gateway: self.gateway, token, wait, limit, way, leave }
    }

    async fn make(&mut self, call: Call) -> Reply {
        let reply = call.make(&self.ground, &mut self.kept[call.gateway]).await;
        self.keep(&reply);
        reply
    }

    fn keep(&mut self, reply: &Reply) {
        if let Reply::Token(token) = reply {
            self.tokens.push_back(token.clone());
            if self.tokens.len() > OLD_TOKENS {
                self.tokens.pop_front();
            }
        }
    }

    /// Reads until nothing more comes, then compares with what waits.
    async fn drain(&mut self) {
        // What was kept would be found closed, or be taken for the client's last.
        self.kept.iter_mut().for_each(|kept| *kept = Kept::default());
        let mut end = Instant::now() + DRAIN;
        let mut empty = 0;
        while Instant::now() < end && !self.ground.has_failed() {
            let call = Call { limit: 100, wait: 1, ..self.call(Way::Http1, Leave::Closes) };
            match self.make(call).await {
                Reply::Nothing => {
                    empty += 1;
                    if self.ground.has_all(self.number) || empty == 5 {
                        break;
                    }
                }
                Reply::Token(_) => {
                    empty = 0;
                    end = Instant::now() + DRAIN;
                }
                Reply::Refused | Reply::Broken => sleep(REFUSED).await,
            }
        }
        if !self.ground.has_failed() {
            self.ground.finish(self.number, self.waiting().await);
        }
    }

    /// Returns how many messages wait in the mailbox.
    async fn waiting(&self) -> usize {
        let name = locked(&self.ground.clients[self.number]).name.clone();
        let answer = Request::get(&format!("/clients/{name}")).send(self.ground.gateways[self.gateway]).await;
        let count = |name: &str| answer.json()[name].as_u64().unwrap_or_default();
        usize::try_from(count("queued") + count("unconfirmed")).expect("a count fits")
    }
}
