//! The fuzzer's inputs without a fuzzer: any bytes, worlds that fit together, and the corpus that
//! `cargo fuzz` found. docs/testing.md says how to look for more.
#![forbid(unsafe_code)]

mod structured;
mod world;

use std::{fs, path::Path};

use proptest::prelude::*;

use world::decode;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        world::run(&decode(&bytes));
        world::origins::run(&decode(&bytes));
    }

    #[test]
    fn tables_that_fit_together_are_read_right(world in structured::world()) {
        world::run(&world);
    }

    #[test]
    fn a_backend_is_found_in_a_range_of_any_length(world in structured::long_range()) {
        world::run(&world);
    }

    #[test]
    fn point_15_a_client_stays_to_the_last_nanosecond(world in structured::one_client()) {
        world::run(&world);
    }

    #[test]
    fn sockets_remember_what_they_have_room_for(history in structured::history()) {
        world::origins::run(&history);
    }
}

#[test]
fn the_corpus_of_worlds_is_survived() {
    replay("select", |bytes| world::run(&decode(bytes)));
}

#[test]
fn the_corpus_of_sockets_is_survived() {
    replay("origins", |bytes| world::origins::run(&decode(bytes)));
}

/// Runs every file of a corpus, and names the one that fails.
fn replay(target: &str, run: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 20, "{} has lost its files", folder.display());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let result = std::panic::catch_unwind(|| run(&bytes));
        assert!(result.is_ok(), "{} fails", file.display());
    }
}
