//! `watch`: a file's content is an event, whenever it is another than before.
//!
//! What is published is what was read twice, `debounce` apart, and found equal in place, times, size and hash: so a
//! half of what is about to be written never is. A file that is still open for writing is waited for on top of that.
//! Notifications only say when to look; the content decides, and every `recheck` it is looked at without any.
//!
//! Invariant: `published` is the content that was handed over last, so the same content is never handed over twice in a
//! row, and what was handed over and never sent can be taken back for something newer.

mod changes;
mod kind;
mod look;

use std::{
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use anyhow::{Context, bail};
use events::{ContentType, Event, Topic};
use tokio::{
    select,
    task::spawn_blocking,
    time::{Instant, sleep},
};

pub(crate) use self::kind::DELETED;
use self::{
    changes::{Chain, Changes},
    kind::deleted,
    look::{Content, Look},
};
use crate::source::{Input, Order, Outgoing, Source, compose};

/// How long a file that is open for writing may hold still before its content is taken as it is: some programs never
/// close theirs.
const LONGEST_STILL: Duration = Duration::from_secs(10);

/// What to watch.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) file: PathBuf,
    pub(crate) topic: Topic,
    pub(crate) content_type: Option<ContentType>,
    /// How long the content must hold still.
    pub(crate) debounce: Duration,
    /// How often to look without being told of a change.
    pub(crate) recheck: Duration,
}

/// The source of events from one file.
pub(crate) struct Watch {
    /// As the user wrote it.
    name: String,
    path: PathBuf,
    options: Options,
    changes: Changes,
    published: Option<Look>,
    /// What `published` was before.
    before: Option<Look>,
    /// There is something new that was not handed over yet.
    is_pending: bool,
    /// What to say when it is stored.
    said: String,
}

impl Watch {
    /// Begins to watch. The folder has to be there, so that a wrong path is known at once; the file need not be.
    pub(crate) async fn open(options: Options) -> anyhow::Result<Self> {
        let name = options.file.display().to_string();
        let path = absolute(&options.file).with_context(|| format!("cannot watch {name}"))?;
        let (Some(folder), Some(_)) = (path.parent(), path.file_name()) else {
            bail!("cannot watch {name}: it names no file");
        };
        if path.is_dir() {
            bail!("cannot watch {name}: it is a folder; name a file in it");
        }
        if !folder.is_dir() {
            bail!("cannot watch {name}: there is no folder {}", folder.display());
        }
        let mut changes = Changes::new();
        changes.follow(chain(&path).await?);
        let (published, before, is_pending, said) = (None, None, false, String::new());
        Ok(Self { name, path, options, changes, published, before, is_pending, said })
    }

    /// Says why changes will not be told, if so.
    pub(crate) fn blocked_reason(&self) -> Option<String> {
        let (reason, seconds) = (self.changes.blocked_reason()?, self.options.recheck.as_secs_f64());
        Some(format!("cannot be told of changes of {} ({reason}); looking every {seconds} s", self.name))
    }

    /// Reads the file, after making sure that later changes will be told.
    async fn look(&mut self) -> anyhow::Result<Look> {
        self.changes.follow(chain(&self.path).await?);
        let path = self.path.clone();
        Ok(spawn_blocking(move || Look::at(&path)).await?)
    }

    /// Waits until two looks, a pause apart, are the same, and the file is not being written.
    async fn settled(&mut self, mut seen: Look) -> anyhow::Result<Look> {
        let mut since = Instant::now();
        loop {
            sleep(self.options.debounce).await;
            let now = self.look().await?;
            if !now.is_still(&seen) {
                since = Instant::now();
                seen = now;
            } else if !self.changes.is_open() || since.elapsed() >= LONGEST_STILL {
                return Ok(now);
            }
        }
    }

    fn is_published(&self, look: &Look) -> bool {
        self.published.as_ref().is_some_and(|published| published.is_same(look))
    }

    /// Makes an event of what was found.
    fn hand_over(&mut self, look: Look) -> Input {
        let made = match &look {
            Look::Absent => Ok(Event::new(self.options.topic.clone(), Some(deleted()), Vec::new())),
            Look::Unusable(reason) => Err(reason.clone()),
            Look::Content(Content { bytes, .. }) => {
                let declared = self.options.content_type.clone();
                let content_type = declared.or_else(|| kind::of(&self.path, bytes));
                compose(self.options.topic.clone(), content_type.as_ref(), bytes.clone())
            }
        };
        self.is_pending = false;
        let look = look.without_bytes();
        match made {
            Ok(event) => {
                let what = match &look {
                    Look::Content(content) => content.to_string(),
                    Look::Absent | Look::Unusable(_) => format!("it is gone ({DELETED})"),
                };
                self.said = format!("{}: {what}: published as {}", self.name, event.id);
                self.before = self.published.replace(look);
                Input::Event(Outgoing { event, line: None })
            }
            Err(reason) => {
                self.before = self.published.replace(look);
                Input::Unusable { line: None, reason }
            }
        }
    }
}

/// Finds out where a path leads; the file system may take its time.
async fn chain(path: &Path) -> anyhow::Result<Chain> {
    let path = path.to_owned();
    Ok(spawn_blocking(move || Chain::of(&path)).await?)
}

impl Source for Watch {
    async fn next(&mut self) -> anyhow::Result<Option<Input>> {
        loop {
            let seen = self.look().await?;
            self.is_pending = !self.is_published(&seen);
            if self.is_pending {
                let settled = self.settled(seen).await?;
                if !self.is_published(&settled) {
                    return Ok(Some(self.hand_over(settled)));
                }
                continue;
            }
            select! {
                () = self.changes.next() => {}
                () = sleep(self.options.recheck) => {}
            }
        }
    }

    fn order(&self) -> Order {
        Order::Newest
    }

    fn is_endless(&self) -> bool {
        true
    }

    fn put_back(&mut self, _: Outgoing) {
        self.published = self.before.take();
        self.is_pending = true;
    }

    fn stored(&mut self) -> Option<String> {
        Some(std::mem::take(&mut self.said))
    }

    fn given_up(&mut self, reason: &str) -> Option<String> {
        Some(format!("{}: not published: {reason}", self.name))
    }

    fn unread(&self) -> Option<String> {
        self.is_pending.then(|| format!("the newest content of {} was not published", self.name))
    }
}
