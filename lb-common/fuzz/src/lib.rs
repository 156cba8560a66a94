//! What the fuzz targets do with their bytes: what the tests of lb-common do with the corpus.
//!
//! No world may be made or judged in another way here: the corpus would mean something else there.
#![forbid(unsafe_code)]

#[path = "../../tests/fuzz/world/mod.rs"]
mod world;

/// Selections in worlds of any contents.
pub fn select(bytes: &[u8]) {
    world::run(&world::decode(bytes));
}

/// What an unconnected UDP socket remembers, from any contents.
pub fn origins(bytes: &[u8]) {
    world::origins::run(&world::decode(bytes));
}
