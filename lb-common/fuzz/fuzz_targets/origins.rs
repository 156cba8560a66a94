#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_common_fuzz::origins(bytes));
