//! Manifests without a folder, for scripts of tests: texts are taken in and objects deleted one
//! by one, each with the events that it leads to.
//!
//! What a folder is read by is used here as it is; nothing may be read in another way.

use super::{
    Event, Telling, desired,
    objects::{Manifest, Objects},
    parse::{Ignored, parse},
};

/// The objects that were written so far.
#[derive(Debug, Default)]
pub struct Written {
    objects: Vec<Manifest>,
    told: Telling,
}

/// What is wrong with a text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Mistake {
    /// Counts from 1, in the text.
    pub line: usize,
    /// A clause.
    pub reason: String,
}

impl Written {
    /// Takes in the objects of a text in their order, each with its own events. All of a text or
    /// nothing.
    ///
    /// # Errors
    /// If the text is no manifest, or has an object of a kind that does not count.
    pub fn apply(&mut self, text: &str, mut out: impl FnMut(Event)) -> Result<(), Mistake> {
        let parsed = parse(text)
            .map_err(|broken| Mistake { line: broken.spot.line, reason: broken.reason })?;
        let misspelt = parsed.misspelt.first().map(|misspelt| &misspelt.written);
        let ignored = parsed.ignored.as_ref().map(|(ignored, _)| ignored);
        if let Some(Ignored { spot, api_version, kind }) = misspelt.or(ignored) {
            let reason = format!("`apiVersion: {api_version}`, `kind: {kind}` is not read");
            return Err(Mistake { line: spot.line, reason });
        }
        for described in parsed.objects {
            let object = described.object;
            self.objects.retain(|known| known.id() != object.id());
            self.objects.push(object);
            self.tell(&mut out);
        }
        Ok(())
    }

    /// Deletes an object: a kind as manifests have it, and `namespace/name` or, of a Node or a
    /// Namespace, `name`. Returns whether there was one.
    pub fn delete(&mut self, kind: &str, name: &str, mut out: impl FnMut(Event)) -> bool {
        let (before, meant) = (self.objects.len(), format!("{kind} {name}"));
        self.objects.retain(|known| known.display_name() != meant);
        self.tell(&mut out);
        self.objects.len() < before
    }

    fn tell(&mut self, out: &mut impl FnMut(Event)) {
        let mut objects = Objects::default();
        for manifest in &self.objects {
            objects.insert(manifest);
        }
        self.told.advance(desired(&objects), out);
    }
}
