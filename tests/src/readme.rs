//! The programs in the README, run as a reader would run them.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{Finished, program::finish};

const README: &str = include_str!("../../README.md");

/// An interpreter starts in a second or two on a busy machine, and a snippet waits for one answer.
const DEADLINE: Duration = Duration::from_mins(1);

/// A block of code in the README.
#[derive(Debug, Clone)]
pub struct Snippet {
    language: &'static str,
    code: String,
}

impl Snippet {
    /// Returns the block in this language that contains a text; panics unless there is exactly one.
    pub fn with(language: &'static str, text: &str) -> Self {
        let opening = format!("\n```{language}\n");
        let blocks = README.split(&opening).skip(1).filter_map(|rest| Some(rest.split_once("\n```\n")?.0));
        let found: Vec<_> = blocks.filter(|block| block.contains(text)).collect();
        let [code] = found[..] else { panic!("{} blocks of {language} contain {text:?}", found.len()) };
        Self { language, code: code.to_owned() }
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

/// Returns the Python that has what the snippets import: a distribution's packages are not there for one that was installed besides.
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
