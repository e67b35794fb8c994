//! Phones that register, and others who would like to.

use crate::agent::text;
use crate::phone::{Phone, status, values};
use crate::until::{SOON, until};
use crate::world::{Plan, World};
#[cfg(feature = "fault-injection")]
use tandem_node::Fault;
use tandem_sip::Name;
use tandem_sip::digest::Hash;

/// A node with these lines in its `[registrar]`, and with the endpoints alice and bob.
async fn registrar(lines: &str) -> World {
    let mut plan = Plan::new();
    plan.sections = format!(
        "[registrar]\n{lines}\n[[endpoint]]\nuser = \"alice\"\npassword = \"wonderland\"\nnumber = \"100\"\n\
         [[endpoint]]\nuser = \"bob\"\npassword = \"builder\"\nnumber = \"101\"\n"
    );
    plan.start().await
}

async fn alice(world: &World) -> Phone {
    Phone::at("127.0.0.1", world.sip(), "alice", "wonderland").await
}

/// The contacts of all users.
async fn bound(world: &World) -> Vec<String> {
    let all = world.node.registrations("", None, 100).await.expect("the store answers");
    let contacts = |registered: tandem_node::Registered| {
        let aor = registered.aor.clone();
        registered.bindings.into_iter().map(move |binding| format!("{aor} {}", binding.contact))
    };
    all.into_iter().flat_map(contacts).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_registers_with_either_algorithm_and_refreshes_with_the_same_nonce() {
    let world = registrar("").await;
    for (place, hash) in [Hash::Sha256, Hash::Md5].into_iter().enumerate() {
        let mut phone = alice(&world).await;
        phone.hash = hash;
        let answer = phone.binds("").await;
        let contact = phone.contact(";expires=300");
        assert!(values(&answer, Name::Contact).contains(&contact), "{}", text(answer.raw()));
        let refresh = phone.next(&[(Name::Contact, &contact)]);
        assert_eq!(status(&phone.send(&refresh).await), 200, "no challenge more");
        world.counts("tandem_bindings", "", (place + 1) as f64).await;
    }
    assert_eq!(world.metric("tandem_authentications_total", "passed"), 4.0);
    assert_eq!(world.metric("tandem_authentications_total", "challenged"), 2.0);
    assert_eq!(world.metric("tandem_registrations_total", "changed"), 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_registers_over_ipv6() {
    let mut plan = Plan::new().listening(&["[::1]:0"]);
    plan.sections = "[[endpoint]]\nuser = \"alice\"\npassword = \"wonderland\"\n".to_owned();
    let world = plan.start().await;
    let mut phone = Phone::at("::1", world.sip(), "alice", "wonderland").await;
    let answer = phone.binds("").await;
    assert_eq!(values(&answer, Name::Contact), [phone.contact(";expires=300")]);
    assert_eq!(bound(&world).await, [format!("alice@tandem sip:alice@{}", phone.agent.address)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_of_both_algorithms_and_of_the_realm() {
    let world = registrar("domains = [\"example.com\", \"127.0.0.1\"]").await;
    let mut phone = alice(&world).await;
    let request = phone.next(&[]);
    let answer = phone.send(&request).await;
    assert_eq!(status(&answer), 401);
    let challenges: Vec<_> = answer.fields().filter(|field| field.name == Name::WwwAuthenticate).collect();
    assert_eq!(challenges.len(), 2);
    assert!(text(challenges[0].value).contains("algorithm=SHA-256"), "the strongest first (RFC 8760 §2.4)");
    assert!(challenges.iter().all(|field| text(field.value).contains("realm=\"example.com\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_and_a_wrong_password_are_answered_alike() {
    let world = registrar("").await;
    let mut answers = Vec::new();
    for (user, password) in [("alice", "guess"), ("alicf", "guess")] {
        let mut phone = Phone::at("127.0.0.1", world.sip(), user, password).await;
        let contact = phone.contact("");
        let answer = phone.register(&[(Name::Contact, &contact)]).await;
        let kept = answer.fields().filter(|field| {
            !matches!(field.name, Name::Via | Name::From | Name::To | Name::CallId | Name::WwwAuthenticate)
        });
        let lines: Vec<_> = kept.map(|field| text(field.line)).collect();
        let names: Vec<_> = answer.fields().map(|field| field.name).collect();
        answers.push((status(&answer), lines, names));
    }
    assert_eq!(answers[0].0, 401);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(world.metric("tandem_authentications_total", "wrong"), 2.0);
    assert!(bound(&world).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_registers_somebody_else() {
    let world = registrar("").await;
    let mut phone = alice(&world).await;
    phone.aor_user = "bob".to_owned();
    let contact = phone.contact("");
    assert_eq!(status(&phone.register(&[(Name::Contact, &contact)]).await), 403);
    assert!(bound(&world).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_for_another_domain_is_404_and_without_endpoints_405() {
    let world = registrar("domains = [\"example.com\"]").await;
    let mut phone = alice(&world).await;
    let request = text(&phone.next(&[])).replace("@127.0.0.1>", "@example.org>");
    assert_eq!(status(&phone.send(request.as_bytes()).await), 404);
    let world = Plan::new().start().await;
    let mut phone = alice(&world).await;
    let request = phone.next(&[]);
    assert_eq!(status(&phone.send(&request).await), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_register_is_answered_again_and_a_replayed_one_is_not() {
    let world = registrar("").await;
    let mut phone = alice(&world).await;
    phone.binds("").await;
    let contact = phone.contact(";expires=200");
    let refresh = phone.next(&[(Name::Contact, &contact)]);
    for _ in 0..3 {
        assert_eq!(status(&phone.send(&refresh).await), 200);
    }
    let mut thief = alice(&world).await;
    let answer = thief.send(&refresh).await;
    assert_eq!(status(&answer), 401);
    assert!(text(answer.raw()).contains("stale=true"), "the thief cannot answer the new nonce");
    let all = world.node.registrations("", None, 10).await.expect("the store answers");
    assert_eq!(all[0].bindings[0].flow.remote, phone.agent.address);
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_are_removed_by_the_phone_and_by_the_operator() {
    let world = registrar("").await;
    let mut phone = alice(&world).await;
    phone.binds("").await;
    assert_eq!(bound(&world).await, [format!("alice@tandem sip:alice@{}", phone.agent.address)]);
    let answer = phone.register(&[(Name::Contact, "*"), (Name::Expires, "0")]).await;
    assert_eq!((status(&answer), values(&answer, Name::Contact).len()), (200, 0));
    assert!(bound(&world).await.is_empty());
    phone.binds("").await;
    assert_eq!(world.node.remove_registration("alice@tandem", Some("sip:nobody@h")).await, Some(0));
    assert_eq!(world.node.remove_registration("alice@tandem", None).await, Some(1));
    assert!(bound(&world).await.is_empty());
    assert_eq!(world.metric("tandem_bindings", ""), 0.0);
    assert_eq!(values(&phone.register(&[]).await, Name::Contact).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_is_not_refreshed_lapses() {
    let world = registrar("min_expires = 1").await;
    let mut phone = alice(&world).await;
    phone.binds(";expires=1").await;
    world.counts("tandem_bindings_lapsed_total", "", 1.0).await;
    assert_eq!(world.metric("tandem_bindings", ""), 0.0);
    assert!(bound(&world).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_suspends_the_source_and_the_account_but_not_a_user_at_home() {
    let world = registrar("suspend_after = 5").await;
    let mut home = Phone::at("127.0.0.2", world.sip(), "alice", "wonderland").await;
    home.binds("").await;
    let mut guesser = Phone::at("127.0.0.3", world.sip(), "alice", "guess").await;
    for _ in 0..5 {
        guesser.challenge = None;
        assert_eq!(status(&guesser.register(&[]).await), 401);
    }
    let answer = guesser.register(&[]).await;
    assert_eq!(status(&answer), 503);
    assert!(
        answer.number(Name::RetryAfter).is_some_and(|seconds| seconds.is_ok_and(|s| (1..=300).contains(&s)))
    );
    // The source, whomever it names; the account, from wherever; the user at home goes on.
    let mut other = Phone::at("127.0.0.3", world.sip(), "bob", "builder").await;
    assert_eq!(status(&other.register(&[]).await), 503);
    let mut elsewhere = Phone::at("127.0.0.4", world.sip(), "alice", "wonderland").await;
    assert_eq!(status(&elsewhere.register(&[]).await), 503);
    home.binds("").await;
    let names: Vec<_> = world.node.suspensions().iter().map(|one| one.offender.to_string()).collect();
    assert_eq!(names, ["127.0.0.3", "alice"]);
    assert_eq!(world.metric("tandem_suspended", ""), 2.0);
    assert_eq!(world.metric("tandem_suspensions_total", ""), 2.0);
    assert!(world.node.lift_suspension("127.0.0.3") && !world.node.lift_suspension("127.0.0.3"));
    assert_eq!(status(&other.register(&[]).await), 200);
    assert!(world.node.lift_suspension("alice"));
    assert_eq!(status(&elsewhere.register(&[]).await), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_limited_to_20_a_minute_per_source() {
    let world = registrar("").await;
    let mut looked_at = 0;
    for number in 0..40 {
        // Each time at another account, so that it is the source that is limited.
        let mut guesser = Phone::at("127.0.0.3", world.sip(), &format!("user{number}"), "guess").await;
        looked_at += usize::from(status(&guesser.register(&[]).await) == 401);
    }
    assert!((1..=20).contains(&looked_at), "{looked_at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_authentication_a_user_is_believed() {
    let world = registrar("authenticate = false").await;
    let mut phone = alice(&world).await;
    let contact = phone.contact("");
    let request = phone.next(&[(Name::Contact, &contact)]);
    assert_eq!(status(&phone.send(&request).await), 200);
    let mut nobody = Phone::at("127.0.0.1", world.sip(), "carol", "").await;
    let request = nobody.next(&[]);
    assert_eq!(status(&nobody.send(&request).await), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_phones_are_listed_page_by_page() {
    let mut plan = Plan::new();
    let user = |number: usize| format!("[[endpoint]]\nuser = \"u{number:03}\"\n");
    let users: String = (0..60).map(user).collect();
    plan.sections = format!("[registrar]\nauthenticate = false\n{users}");
    let world = plan.start().await;
    for number in 0..60 {
        Phone::at("127.0.0.1", world.sip(), &format!("u{number:03}"), "").await.binds("").await;
    }
    let (mut after, mut sizes, mut seen) = (None, Vec::new(), Vec::new());
    loop {
        let page = world.node.registrations("u0", after.as_deref(), 25).await.expect("the store answers");
        let Some(last) = page.last() else { break };
        after = Some(last.aor.to_string());
        sizes.push(page.len());
        seen.extend(page.iter().map(|one| one.aor.to_string()));
    }
    assert_eq!(sizes, [25, 25, 10]);
    let expected: Vec<_> = (0..60).map(|number| format!("u{number:03}@tandem")).collect();
    assert_eq!(seen, expected);
    let some = world.node.registrations("u05", None, 100).await.expect("the store answers");
    assert_eq!(some.len(), 10);
}

#[cfg(feature = "fault-injection")]
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_panics_has_its_bindings_back_when_it_starts_again() {
    let world = registrar("").await;
    let mut phone = alice(&world).await;
    phone.binds("").await;
    world.node.arm(Fault::Registrar);
    let query = phone.next(&[]);
    let heard = async || {
        phone.agent.send(&query, world.sip()).await;
        let answered = phone.agent.heard().iter().any(|line| line.starts_with("SIP/2.0 200"));
        answered.then_some(())
    };
    until("the registrar answers again", SOON, heard).await;
    let answer = phone.answer().await;
    assert_eq!(values(&answer, Name::Contact).len(), 1, "{}", text(answer.raw()));
    assert_eq!(world.metric("tandem_bindings", ""), 1.0);
}

#[cfg(feature = "fault-injection")]
#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_does_not_take_is_503_and_not_bound() {
    let world = registrar("").await;
    let mut phone = alice(&world).await;
    world.node.arm(Fault::StoreAway);
    let contact = phone.contact("");
    let answer = phone.register(&[(Name::Contact, &contact)]).await;
    assert_eq!(status(&answer), 503);
    assert!(answer.first(Name::RetryAfter).is_some());
    assert!(bound(&world).await.is_empty());
    assert_eq!(world.metric("tandem_bindings", ""), 0.0);
    assert_eq!(world.metric("tandem_registrations_total", "failed"), 1.0);
    phone.binds("").await;
}

#[cfg(feature = "fault-injection")]
#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_takes_its_time_others_of_the_address_wait_for_their_turn() {
    let world = registrar("").await;
    let mut phone = alice(&world).await;
    phone.binds("").await;
    world.node.arm(Fault::StoreSlow);
    let contact = phone.contact(";expires=100");
    let slow = phone.next(&[(Name::Contact, &contact)]);
    let removal = phone.next(&[(Name::Contact, "*"), (Name::Expires, "0")]);
    phone.agent.send(&slow, world.sip()).await;
    phone.agent.send(&removal, world.sip()).await;
    let answers = [phone.answer().await, phone.answer().await];
    let counts: Vec<_> = answers.iter().map(|answer| values(answer, Name::Contact).len()).collect();
    assert_eq!((status(&answers[0]), status(&answers[1]), counts), (200, 200, vec![1, 0]));
    assert!(bound(&world).await.is_empty());
}
