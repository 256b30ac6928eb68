//! The rules that stand before all others and cannot be removed, as they are found in the chains in force.
//!
//! **Invariant:** nothing is said to hold that is not in the lines that the satellite answered.

use super::RuleView;

/// What can be found.
struct Known {
    name: &'static str,
    protocol: &'static str,
    /// What its line has, in and out.
    marks: [&'static str; 2],
    comment: &'static str,
}

const KNOWN: [Known; 7] = [
    Known {
        name: "loopback",
        protocol: "any",
        marks: ["-i lo ", "-o lo "],
        comment: "the machine with itself",
    },
    Known {
        name: "bridge",
        protocol: "tcp",
        marks: ["-p tcp -m tcp --dport ", "-p tcp -m tcp --sport "],
        comment: "the server reaches the bridge, and gets its answers",
    },
    Known {
        name: "established",
        protocol: "any",
        marks: ["--ctstate RELATED,ESTABLISHED "; 2],
        comment: "what belongs to connections that were let through",
    },
    Known {
        name: "icmp",
        protocol: "icmp",
        marks: ["-p icmp "; 2],
        comment: "unreachable, time exceeded, parameter problem",
    },
    Known {
        name: "icmpv6",
        protocol: "icmp",
        marks: ["-p ipv6-icmp "; 2],
        comment: "errors, neighbours, routers, multicast listeners",
    },
    Known {
        name: "dhcp",
        protocol: "udp",
        marks: ["--sport 67 --dport 68 ", "--sport 68 --dport 67 "],
        comment: "the machine's IPv4 address",
    },
    Known {
        name: "dhcpv6",
        protocol: "udp",
        marks: ["--sport 547 --dport 546 ", "--sport 546 --dport 547 "],
        comment: "the machine's IPv6 address",
    },
];

/// Finds them in what `iptables -S` and `ip6tables -S` print.
pub(super) fn in_force<'a>(lines: impl Iterator<Item = &'a String> + Clone) -> Vec<RuleView> {
    KNOWN
        .iter()
        .filter_map(|known| {
            let find = |chain: &str, mark: &str| {
                // A rule that was set has its name in a comment.
                lines.clone().find_map(|line| {
                    let rest = line.strip_prefix(chain).filter(|_| !line.contains("--comment"))?;
                    let (_, rest) = rest.strip_suffix("-j ACCEPT")?.split_once(mark)?;
                    Some(rest)
                })
            };
            let [mark_in, mark_out] = known.marks;
            let came = find("-A SATELLITE-INPUT", mark_in);
            let went = find("-A SATELLITE-OUTPUT", mark_out);
            let direction = match (came, went) {
                (Some(_), Some(_)) => "in, out",
                (Some(_), None) => "in",
                (None, Some(_)) => "out",
                (None, None) => return None,
            };
            let port = came.or(went).filter(|_| known.name == "bridge");
            Some(RuleView {
                owner: "always".to_owned(),
                name: known.name.to_owned(),
                direction,
                protocol: known.protocol,
                ports: port.into_iter().map(|port| port.trim().to_owned()).collect(),
                remotes: Vec::new(),
                action: "accept",
                comment: known.comment.to_owned(),
                rate: String::new(),
                packets: None,
                bytes: None,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str]) -> Vec<String> {
        let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
        in_force(lines.iter())
            .iter()
            .map(|rule| rule.row()[1..5].join(" "))
            .collect()
    }

    #[test]
    fn what_always_holds_is_found_in_the_chains() {
        let lines = [
            "-N SATELLITE-INPUT",
            "-A SATELLITE-INPUT -i lo -j ACCEPT",
            "-A SATELLITE-INPUT -p tcp -m tcp --dport 7640 -j ACCEPT",
            "-A SATELLITE-INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-A SATELLITE-INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT",
            "-A SATELLITE-INPUT -p udp -m udp --sport 67 --dport 68 -j ACCEPT",
            "-A SATELLITE-INPUT -s fe80::/10 -p udp -m udp --sport 547 --dport 546 -j ACCEPT",
            "-A SATELLITE-OUTPUT -o lo -j ACCEPT",
            "-A SATELLITE-OUTPUT -p tcp -m tcp --sport 7640 -j ACCEPT",
        ];
        assert_eq!(
            found(&lines),
            [
                "loopback in, out any any",
                "bridge in, out tcp 7640",
                "established in any any",
                "icmp in icmp any",
                "dhcp in udp any",
                "dhcpv6 in udp any",
            ]
        );
    }

    #[test]
    fn a_rule_that_was_set_or_is_not_there_is_not_said_to_hold_always() {
        let set =
            "-A SATELLITE-INPUT -p tcp -m tcp --dport 80 -m comment --comment \"operator/web\" -j ACCEPT";
        assert_eq!(
            found(&[set, "-A SATELLITE-INPUT -p icmp -j DROP"]),
            Vec::<String>::new()
        );
    }
}
