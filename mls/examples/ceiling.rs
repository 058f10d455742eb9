//! Messages per second of one thread: bare OpenMLS with Kith's suite and
//! codec against the engine, each creating and processing.
//!
//! Prints `mls.ceiling`, `mls.engine` and `mls.engine_ratio` as lines of
//! `name: value`, each the median of three rounds that take turns. Usage: `ceiling [messages]`.

use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a bench measures time; the engine itself never does")]
fn main() {
    let mut args = std::env::args().skip(1);
    let messages: u32 = args.next().and_then(|a| a.parse().ok()).unwrap_or(5_000);
    let mut ceilings = Vec::new();
    let mut engines = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        kith_mls::bench::bare(messages);
        ceilings.push(f64::from(messages) / start.elapsed().as_secs_f64());
        let start = Instant::now();
        kith_mls::bench::engine(messages);
        engines.push(f64::from(messages) / start.elapsed().as_secs_f64());
    }
    ceilings.sort_by(f64::total_cmp);
    engines.sort_by(f64::total_cmp);
    println!("mls.ceiling: {:.0} msg/s", ceilings[1]);
    println!("mls.engine: {:.0} msg/s", engines[1]);
    println!("mls.engine_ratio: {:.3}", engines[1] / ceilings[1]);
}
