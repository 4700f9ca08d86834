//! The README and the pages of the book, and the code in them: run as a reader would run it.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{Finished, program::finish};

/// An interpreter starts in a second or two on a busy machine, and a snippet waits for one answer.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// A page with code that is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// `README.md`.
    Readme,
    /// `docs/src/quickstart.md`.
    Quickstart,
    /// `docs/src/feeds.md`.
    Feeds,
    /// `docs/src/browser.md`.
    Browser,
    /// `docs/src/publishing.md`.
    Publishing,
    /// `docs/src/amqp.md`.
    Amqp,
}

impl Page {
    /// Returns the text. It is read when it is asked for, so that a change of a page needs no build.
    pub fn text(self) -> String {
        let name = match self {
            Self::Readme => "README.md",
            Self::Quickstart => "docs/src/quickstart.md",
            Self::Feeds => "docs/src/feeds.md",
            Self::Browser => "docs/src/browser.md",
            Self::Publishing => "docs/src/publishing.md",
            Self::Amqp => "docs/src/amqp.md",
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
    }

    /// Returns the blocks of a language.
    fn blocks(self, language: &str) -> Vec<String> {
        let (opening, text) = (format!("\n```{language}\n"), self.text());
        let blocks = text.split(&opening).skip(1).filter_map(|rest| Some(rest.split_once("\n```\n")?.0.to_owned()));
        blocks.collect()
    }

    /// Returns the only block of a language that contains a text.
    pub fn block(self, language: &str, text: &str) -> String {
        let mut found: Vec<_> = self.blocks(language).into_iter().filter(|block| block.contains(text)).collect();
        assert_eq!(found.len(), 1, "blocks of {language} in {self:?} that contain {text:?}");
        found.remove(0)
    }

    /// Returns each line that a reader types into a terminal.
    pub fn commands(self) -> Vec<String> {
        self.blocks("sh").iter().flat_map(|block| block.lines()).map(str::to_owned).collect()
    }

    /// Returns the only such line that contains a text.
    pub fn command(self, text: &str) -> String {
        let mut found: Vec<_> = self.commands().into_iter().filter(|command| command.contains(text)).collect();
        assert_eq!(found.len(), 1, "commands in {self:?} that contain {text:?}");
        found.remove(0)
    }
}

/// A program in a page.
#[derive(Debug, Clone)]
pub struct Snippet {
    language: &'static str,
    code: String,
}

impl Snippet {
    /// Returns the block in this language that contains a text; panics unless there is exactly one.
    pub fn of(page: Page, language: &'static str, text: &str) -> Self {
        Self { language, code: page.block(language, text) }
    }

    /// Changes what its user has to change; panics if it is not there.
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.code.contains(from), "no {from:?} in:\n{}", self.code);
        self.code = self.code.replace(from, to);
        self
    }

    /// Runs it to its end; panics unless it succeeds.
    pub async fn run(&self) -> Finished {
        let mut command = match self.language {
            "python" => interpreter(python(), &["-c"]),
            "js" => interpreter("node", &["--input-type=module", "-e"]),
            other => panic!("{other} is not run here"),
        };
        let finished = finish(self.language, command.arg(&self.code), DEADLINE).await;
        assert!(finished.status.success(), "(what it needs: tests/install-needs readme) {}", finished.stderr);
        finished
    }
}

/// Returns the Python that has what the snippets import: a distribution's packages are not there for one that was
/// installed besides.
fn python() -> &'static str {
    let imports = |python: &&str| {
        let mut command = Command::new(python);
        command.args(["-c", "import pika, requests"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(imports).unwrap_or("python3")
}

/// In the folder in which Node.js finds what it imports.
fn interpreter(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("readme"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
