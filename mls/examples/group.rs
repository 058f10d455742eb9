//! What groups of different sizes cost one device: processor time, beside that
//! of bare OpenMLS on the same tree, and bytes.
//!
//! Prints `group.name.N: value unit` lines, N being the devices in the group;
//! times are of all threads together, and medians. Usage: `group [N]...`.

use std::time::Duration;

use kith_mls::bench::group::{Effort, measure};
use rustix::time::{ClockId, clock_gettime};

const SIZES: [u32; 5] = [2, 32, 128, 512, 1000];
const EFFORT: Effort = Effort { updates: 512, rounds: 9, batches: 21, messages: 25 };

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn main() {
    let given: Vec<u32> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let sizes = if given.is_empty() { SIZES.to_vec() } else { given };
    for devices in sizes {
        for figure in measure(devices.clamp(2, 1000), EFFORT, &cpu) {
            let digits = if figure.unit == "ms" || figure.unit == "x" { 3 } else { 0 };
            println!("group.{}.{devices}: {:.digits$} {}", figure.name, figure.value, figure.unit);
        }
    }
}
