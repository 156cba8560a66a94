//! From the text of one manifest file to typed objects.
//!
//! This module must never look at other files, nor fill in what only the cluster's controllers
//! know. It does what the API server does to a manifest: it checks that the object has a name, and
//! fills in the defaults that others rely on.

mod document;
mod name;
mod plan;
mod reason;
mod shape;
#[cfg(test)]
mod tests;
mod typed;

use serde_saphyr::{Budget, Location, Options};

use self::{
    document::{Document, documents},
    plan::Unread,
    reason::describe,
};
use super::objects::{Described, Spot};

/// What a file holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parsed {
    /// In the order of the file.
    pub(super) objects: Vec<Described>,
    /// Objects whose kind is written wrongly.
    pub(super) misspelt: Vec<Misspelt>,
    /// The first object of a kind that does not count, and how many there are of these.
    pub(super) ignored: Option<(Ignored, usize)>,
}

/// An object that is not read, though one of another version or kind would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misspelt {
    pub(super) written: Ignored,
    pub(super) api_version: &'static str,
    pub(super) kind: String,
}

/// An object that is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ignored {
    pub(super) spot: Spot,
    pub(super) api_version: String,
    pub(super) kind: String,
}

/// Why a file could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) spot: Spot,
    pub(super) reason: String,
}

/// All of a file. All or nothing: a file that was half understood would take away what its other
/// half still describes.
pub(super) fn parse(text: &str) -> Result<Parsed, Broken> {
    let mut parsed = Parsed::default();
    for (index, document) in documents(text).enumerate() {
        let spot = |line: usize| Spot { document: index + 1, line: document.start + line.max(1) };
        parsed.add(&document, |at| spot(usize::try_from(at.line()).unwrap_or(0))).map_err(
            |error| {
                let (line, reason) = describe(&error, document.text);
                Broken { spot: spot(line), reason }
            },
        )?;
    }
    Ok(parsed)
}

impl Parsed {
    fn add(
        &mut self,
        document: &Document<'_>,
        spot: impl Fn(Location) -> Spot,
    ) -> Result<(), serde_saphyr::Error> {
        let mut unread = Vec::new();
        let objects = typed::read(document.text, &mut unread)?;
        let objects = objects.into_iter();
        self.objects.extend(objects.map(|(at, object)| Described { object, spot: spot(at) }));
        for Unread { at, api_version, kind, meant } in unread {
            let written = Ignored { spot: spot(at), api_version, kind };
            match meant {
                Some((api_version, kind)) => {
                    self.misspelt.push(Misspelt { written, api_version, kind });
                }
                None => self.ignored.get_or_insert((written, 0)).1 += 1,
            }
        }
        Ok(())
    }
}

/// The whole text is in memory already, so its size bounds what parsing it costs; only aliases
/// can multiply, and keep their limits.
fn options(text: &str) -> Options {
    let size = text.len() + 16;
    Options {
        budget: Some(Budget { max_events: size, max_nodes: size, ..Budget::default() }),
        with_snippet: false,
        ..Options::default()
    }
}
