//! Logs go to standard error. Their fields are names, kinds, counts, bytes and
//! times; ids, addresses and content never.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Starts logging at a level: our own crates at it, all others at most `warn`,
/// because libraries know no such rule; and libp2p's, which name peers, not
/// at all.
pub(crate) fn start(level: &str) {
    let others = match level {
        "off" | "error" => level,
        _ => "warn",
    };
    let ours = ["kith", "kith_core", "kith_web", "kith_overlay", "kith_store", "kith_mls"];
    let quiet = [
        "libp2p",
        "libp2p_swarm",
        "libp2p_core",
        "libp2p_relay",
        "libp2p_dcutr",
        "libp2p_identify",
        "libp2p_quic",
        "libp2p_tcp",
        "libp2p_noise",
        "libp2p_ping",
        "libp2p_dns",
        "libp2p_stream",
        "yamux",
        "multistream_select",
        "quinn",
        "quinn_proto",
        "quinn_udp",
        "hickory_proto",
        "hickory_resolver",
        "openmls",
        "netlink_proto",
        "netlink_packet_route",
        "if_watch",
    ];
    let mut filter = others.to_owned();
    for name in ours {
        filter.push_str(&format!(",{name}={level}"));
    }
    for name in quiet {
        filter.push_str(&format!(",{name}=off"));
    }
    let filter = EnvFilter::builder().parse_lossy(filter);
    // A second start in one process keeps the first.
    let _already = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true).try_init();
}
