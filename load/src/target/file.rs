//! The file that describes a server, and what can be wrong with it. Every error names the line.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{
    place::{At, OF_STREAM},
    template::{Template, VARIABLES, known},
};

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) name: String,
    pub(super) repeated: Option<String>,
    pub(super) reset: Option<String>,
    pub(super) read: BTreeMap<String, Way>,
    pub(super) publish: Option<Publish>,
}

/// One way to read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Way {
    pub(super) first: Option<Asked>,
    pub(super) poll: Option<Asked>,
    pub(super) stream: Option<Asked>,
    pub(super) leave: Option<Asked>,
    #[serde(default)]
    pub(super) places: BTreeMap<String, At>,
    #[serde(default = "events")]
    pub(super) events: Vec<u16>,
    #[serde(default = "nothing")]
    pub(super) nothing: Vec<u16>,
    #[serde(default)]
    pub(super) own_topics: bool,
}

/// A request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Asked {
    pub(super) method: Option<String>,
    pub(super) path: Spanned<Template>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Spanned<Template>>,
    pub(super) body: Option<Spanned<Template>>,
}

/// The request that publishes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Publish {
    method: Option<String>,
    path: Spanned<Template>,
    #[serde(default)]
    headers: BTreeMap<String, Spanned<Template>>,
    body: Option<Spanned<Template>>,
    #[serde(default)]
    pub(super) amqp: bool,
    #[serde(default = "confirmed")]
    pub(super) confirmed: Vec<u16>,
}

fn events() -> Vec<u16> {
    vec![200]
}

fn nothing() -> Vec<u16> {
    vec![204, 304]
}

fn confirmed() -> Vec<u16> {
    vec![200, 201, 202, 204]
}

impl File {
    /// Reads a file; an error is text with the line and the remedy.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let file: Self = toml::from_str(text).map_err(|error| match error.span() {
            Some(span) => format!("line {}: {}", line(text, span.start), error.message().trim_end()),
            None => error.message().trim_end().to_owned(),
        })?;
        if file.read.is_empty() {
            return Err("there is no [read.…]: add one that says how a client reads".to_owned());
        }
        for (name, way) in &file.read {
            if way.poll.is_none() && way.stream.is_none() {
                return Err(format!("[read.{name}] has neither `poll.path` nor `stream.path`: add one of them"));
            }
            let mut places: Vec<String> = way.places.keys().cloned().collect();
            if let Some(taken) = places.iter().find(|place| VARIABLES.contains(&place.as_str())) {
                return Err(format!(
                    "[read.{name}] names a place {taken:?}, but that is a variable: choose another name"
                ));
            }
            for asked in [&way.first, &way.poll, &way.leave].into_iter().flatten() {
                check(asked, text, &places)?;
            }
            // The id of an event tells it, without a header.
            places.push(OF_STREAM.to_owned());
            if let Some(asked) = &way.stream {
                check(asked, text, &places)?;
            }
        }
        if let Some(publish) = &file.publish {
            check(&publish.asked(), text, &[])?;
        }
        Ok(file)
    }
}

impl Publish {
    /// Returns it as a request; its body is the payload alone, unless the file says otherwise.
    pub(super) fn asked(&self) -> Asked {
        let payload = || Spanned::new(0..0, Template::from("{payload}".to_owned()));
        Asked {
            method: self.method.clone(),
            path: self.path.clone(),
            headers: self.headers.clone(),
            body: Some(self.body.clone().unwrap_or_else(payload)),
        }
    }
}

fn check(asked: &Asked, text: &str, places: &[String]) -> Result<(), String> {
    let at = |template: &Spanned<Template>| line(text, template.span().start);
    let single = asked.headers.values().chain([&asked.path]);
    if let Some(template) = single.clone().find(|template| template.get_ref().has_line_end()) {
        return Err(format!("line {}: a path and a header end with their line: take the line end out", at(template)));
    }
    for template in single.chain(&asked.body) {
        let is_known = |name: &&str| VARIABLES.contains(name) || places.iter().any(|place| place == name);
        if let Some(unknown) = template.get_ref().variables().find(|name| !is_known(name)) {
            let known = known(places);
            let line = at(template);
            return Err(format!(
                "line {line}: there is no variable {{{unknown}}}: use {known}, or name a place {unknown:?}"
            ));
        }
    }
    if !asked.path.get_ref().starts_with_slash() {
        return Err(format!("line {}: a path begins with `/`: the address is that of --address", at(&asked.path)));
    }
    Ok(())
}

fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
