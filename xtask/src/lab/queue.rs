//! A long and lossy way for whatever a packet filter sends here (NFQUEUE), for
//! kernels without `netem`: each packet is held for a while or lost.
//!
//! Unlike [`super::distance`] it knows no ports and no addresses: it is for
//! programs whose sockets nobody can foretell, as browsers' are.

use anyhow::{Result, bail};

/// What `cargo xtask` is called with in a namespace:
/// `queue NUMBER DELAY_MS LOSS_PER_MILLE SEED`.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let [number, delay, loss, seed] = args else { bail!("a queue takes four arguments") };
    hold(number.parse()?, delay.parse()?, loss.parse()?, seed.parse()?)
}

#[cfg(target_os = "linux")]
fn hold(number: u16, delay_ms: u64, loss: u64, seed: u64) -> Result<bool> {
    use std::collections::VecDeque;
    use std::io::ErrorKind;
    use std::thread;
    use std::time::{Duration, Instant};

    use anyhow::Context as _;
    use nfq::{Queue, Verdict};

    /// Between two looks: no delay is truer than this.
    const LOOK: Duration = Duration::from_micros(500);
    /// Packets that the kernel keeps for us; further ones are lost.
    const HELD_MAX: u32 = 16 << 10;
    /// Of each packet only the beginning is looked at, and not even that.
    const BYTES: u16 = 20;

    let mut queue = Queue::open().context("opening the packet queue")?;
    // What overflows is lost, as at a full router.
    queue.set_recv_enobufs(false)?;
    queue.bind(number).context("taking the packet queue")?;
    queue.set_copy_range(number, BYTES)?;
    queue.set_queue_max_len(number, HELD_MAX)?;
    queue.set_nonblocking(true);
    let mut random = crate::random::Random::new(seed);
    let delay = Duration::from_millis(delay_ms);
    let mut held = VecDeque::new();
    println!("ready: {number}");
    loop {
        match queue.recv() {
            Ok(mut packet) => {
                if random.below(1_000) < loss {
                    packet.set_verdict(Verdict::Drop);
                    queue.verdict(packet)?;
                } else {
                    packet.set_verdict(Verdict::Accept);
                    held.push_back((Instant::now() + delay, packet));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK),
            Err(error) => return Err(error).context("taking a packet"),
        }
        let now = Instant::now();
        while held.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, packet)) = held.pop_front() else { break };
            queue.verdict(packet).context("letting a packet go")?;
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn hold(_: u16, _: u64, _: u64, _: u64) -> Result<bool> {
    bail!("only Linux has packet queues")
}
