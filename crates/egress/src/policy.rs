//! What the rules of a manifest grant. Pure but for asking the kernel whether an address is its own.
//!
//! Two questions, in this order: does a rule cover host and port (before anything is resolved, so that
//! a denied name is not even looked up), and may the addresses be connected to (after).

use std::net::IpAddr;

use model::egress::{EgressRule, HostPattern};

use crate::address::{AddressClass, canonical};
use crate::error::Denial;
use crate::own::{Listener, OwnListeners, is_local};
use crate::target::{Host, Target};

/// Proof that a rule covers a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// A `private:` rule covers it.
    private: bool,
    /// A `private:` rule names the very address.
    private_literal: bool,
}

impl Grant {
    /// The grant of `rules` for `target`; where several rules cover it, the most they grant together.
    pub(crate) fn find(rules: &[EgressRule], target: &Target) -> Result<Self, Denial> {
        let mut found = None;
        for rule in rules.iter().filter(|rule| covers(rule, target)) {
            let grant = found.get_or_insert(Grant {
                private: false,
                private_literal: false,
            });
            grant.private |= rule.private;
            grant.private_literal |= rule.private
                && matches!(target.host, Host::Address(_))
                && matches!(rule.host, HostPattern::Exact(_));
        }
        found.ok_or(Denial::NoRule)
    }

    /// Whether this grant lets a connection go to `ip` and `port`.
    pub(crate) fn check(&self, ip: IpAddr, port: u16, own: &OwnListeners) -> Result<(), Denial> {
        match own.find(ip, port) {
            Some(Listener::Admin) => return Err(Denial::OwnAdmin),
            Some(Listener::Gateway) if !self.private => return Err(Denial::OwnGateway),
            Some(Listener::Gateway) | None => {}
        }
        let class = match AddressClass::of(ip) {
            AddressClass::Public if is_local(ip) => AddressClass::ThisHost,
            class => class,
        };
        match class {
            AddressClass::Public => Ok(()),
            AddressClass::Unspecified | AddressClass::Multicast | AddressClass::Broadcast => {
                Err(Denial::NeverGranted { ip, class })
            }
            AddressClass::Metadata if self.private_literal => Ok(()),
            AddressClass::Metadata => Err(Denial::Metadata { ip }),
            AddressClass::Loopback
            | AddressClass::ThisHost
            | AddressClass::Private
            | AddressClass::Shared
            | AddressClass::LinkLocal
            | AddressClass::UniqueLocal
            | AddressClass::Documentation
            | AddressClass::Benchmark
            | AddressClass::Reserved => {
                if self.private {
                    Ok(())
                } else {
                    Err(Denial::Address { ip, class })
                }
            }
        }
    }
}

fn covers(rule: &EgressRule, target: &Target) -> bool {
    match (&target.host, &rule.host) {
        // Address literals are compared as addresses, so that a rule may spell one in its own way.
        (Host::Address(ip), HostPattern::Exact(text)) => {
            let same = text
                .parse::<IpAddr>()
                .is_ok_and(|rule_ip| canonical(rule_ip) == *ip);
            let plain = EgressRule {
                host: HostPattern::Any,
                ..rule.clone()
            };
            same && plain.matches(text, target.port)
        }
        // `*.0.0.1` is about names; an address has no parents.
        (Host::Address(_), HostPattern::Below(_)) => false,
        _ => rule.matches(&target.host.to_rule_text(), target.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<EgressRule> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// The outcome of a request to `uri` whose name resolved to `ip`.
    fn check(texts: &[&str], uri: &str, ip: &str) -> Result<(), Denial> {
        let own = OwnListeners::default();
        own.add(Listener::Admin, "127.0.0.1:8081".parse().unwrap());
        own.add(Listener::Gateway, "127.0.0.1:8080".parse().unwrap());
        let target = Target::of(&uri.parse().unwrap()).expect("a good target");
        let grant = Grant::find(&rules(texts), &target)?;
        grant.check(ip.parse().unwrap(), target.port, &own)
    }

    #[test]
    fn nothing_is_allowed_without_a_rule() {
        assert_eq!(
            check(&[], "http://example.com/", "1.1.1.1"),
            Err(Denial::NoRule)
        );
        let rules = &["example.com"];
        assert_eq!(check(rules, "http://example.com/", "1.1.1.1"), Ok(()));
        assert_eq!(
            check(rules, "http://example.com:8080/", "1.1.1.1"),
            Err(Denial::NoRule)
        );
        assert_eq!(
            check(rules, "http://a.example.com/", "1.1.1.1"),
            Err(Denial::NoRule)
        );
    }

    #[test]
    fn private_addresses_take_a_private_rule() {
        for ip in [
            "127.0.0.1",
            "10.0.0.1",
            "fd00::1",
            "169.254.1.1",
            "100.64.0.1",
            "64:ff9b::a00:1",
        ] {
            let plain = check(&["*"], "http://example.com/", ip);
            assert!(
                matches!(plain, Err(Denial::Address { .. })),
                "{ip}: {plain:?}"
            );
            assert_eq!(
                check(&["private:*"], "http://example.com/", ip),
                Ok(()),
                "{ip}"
            );
            assert_eq!(
                check(&["*", "private:example.com"], "http://example.com/", ip),
                Ok(())
            );
        }
    }

    #[test]
    fn metadata_takes_a_rule_that_names_the_address() {
        let uri = "http://169.254.169.254/latest/";
        let ip = "169.254.169.254";
        assert!(matches!(
            check(&["private:*"], uri, ip),
            Err(Denial::Metadata { .. })
        ));
        assert!(matches!(
            check(&["169.254.169.254"], uri, ip),
            Err(Denial::Metadata { .. })
        ));
        assert_eq!(check(&["private:169.254.169.254"], uri, ip), Ok(()));
        let named = check(&["private:example.com"], "http://example.com/", ip);
        assert!(matches!(named, Err(Denial::Metadata { .. })));
    }

    #[test]
    fn some_addresses_are_never_granted() {
        for ip in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            let result = check(&["private:*"], "http://example.com/", ip);
            assert!(matches!(result, Err(Denial::NeverGranted { .. })), "{ip}");
        }
    }

    #[test]
    fn the_nodes_own_listeners_are_guarded() {
        let all = &["private:*:8081", "private:*:8080", "*:8080"];
        assert_eq!(
            check(all, "http://x:8081/", "127.0.0.1"),
            Err(Denial::OwnAdmin)
        );
        assert_eq!(check(all, "http://x:8080/", "127.0.0.1"), Ok(()));
        assert_eq!(
            check(&["*:8080"], "http://x:8080/", "127.0.0.1"),
            Err(Denial::OwnGateway)
        );
    }

    #[test]
    fn address_rules_compare_addresses() {
        assert_eq!(
            check(&["private:[FD00:0::1]:80"], "http://[fd00::1]/", "fd00::1"),
            Ok(())
        );
        assert_eq!(
            check(
                &["private:127.0.0.1:80"],
                "http://[::ffff:127.0.0.1]/",
                "127.0.0.1"
            ),
            Ok(())
        );
        assert_eq!(
            check(&["*.1.1.1"], "http://1.1.1.1/", "1.1.1.1"),
            Err(Denial::NoRule)
        );
        assert_eq!(
            check(&["1.1.1.1"], "http://1.1.1.1:81/", "1.1.1.1"),
            Err(Denial::NoRule)
        );
    }
}
