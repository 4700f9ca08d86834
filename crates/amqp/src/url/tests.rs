//! URLs of a broker: what is read, what is refused, and what is never shown.

use super::*;

fn error(text: &str) -> String {
    text.parse::<AmqpUrl>().unwrap_err().to_string()
}

#[test]
fn a_password_is_never_shown() {
    let url: AmqpUrl = "amqp://user:s3cret@broker:5673/jobs".parse().unwrap();
    assert_eq!(url.to_string(), "amqp://user@broker:5673 (vhost jobs)");
    assert!(!format!("{url:?}").contains("s3cret"));
    for wrong in
        ["amqp:/user:s3cret@", "amqp:user:s3cret@host?x=://", "amqp://u:p@h?auth_mechanism=s3cret", "s3cret://h"]
    {
        let error = wrong.parse::<AmqpUrl>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{wrong}: {error}");
    }
}

#[test]
fn sane_defaults_fill_the_gaps_and_only_those() {
    let parsed = |text: &str| text.parse::<AmqpUrl>().unwrap().secret().parse::<AMQPUri>().unwrap();
    assert_eq!(parsed("amqp://localhost").query.heartbeat, Some(HEARTBEAT_SECONDS));
    assert_eq!(parsed("amqp://localhost?heartbeat=2").query.heartbeat, Some(2));
    assert_eq!(parsed("amqp://localhost").query.frame_max, Some(FRAME_MAX));
    assert_eq!(parsed("amqp://localhost?frame_max=131072").query.frame_max, Some(131_072));
    assert_eq!(parsed("amqp://localhost").vhost, "/");
    assert_eq!(parsed("amqp://localhost/").vhost, "/");
    assert_eq!(parsed("amqp://localhost/%2f").vhost, "/");
    assert_eq!(parsed("amqp://u%40x:p%2Fw@localhost/v").authority.userinfo.password, "p/w");
    for bad in ["http://localhost", "localhost:5672", ""] {
        assert!(bad.parse::<AmqpUrl>().is_err(), "{bad}");
    }
}

#[test]
fn an_address_of_ipv6_is_that_address_and_not_localhost() {
    let url: AmqpUrl = "amqp://u:p@[2001:db8::1]:5673/v".parse().unwrap();
    assert_eq!((url.host(), url.address().as_str()), ("2001:db8::1", "[2001:db8::1]:5673"));
    let library: AMQPUri = url.secret().parse().unwrap();
    assert_eq!((library.authority.host.as_str(), library.authority.port), ("2001:db8::1", 5673));
    // What was made of it is read again.
    assert_eq!(url.secret().parse::<AmqpUrl>().unwrap().to_string(), "amqp://u@[2001:db8::1]:5673 (vhost v)");
}

#[test]
fn a_password_that_is_not_encoded_is_told_so() {
    for password in ["pa#ss", "pa/ss", "pa?ss", "12#ss"] {
        let error = error(&format!("amqp://user:{password}@broker/jobs"));
        assert!(error.contains("percent-encode user, password and virtual host"), "{password}: {error}");
        assert!(!error.contains(password), "{error}");
    }
    assert!("amqp://user:pa%23s%2Fs@broker/jobs".parse::<AmqpUrl>().is_ok());
}

#[test]
fn a_list_in_one_url_is_refused_and_told_what_to_do() {
    for list in [
        "amqp://u:p@a,b/v",
        "amqp://u:p@a:5672,b:5672/v",
        "amqp://u:p@a,u:s3cret@b/v",
        "amqp://u:p@a:5672,amqp://u:s3cret@b:5672",
        "amqp://u:p@a/v,amqp://u:s3cret@b/v",
        "amqp://u:p@a?heartbeat=5,amqp://u:s3cret@b",
        "amqp://a,amqp://b",
    ] {
        let error = error(list);
        assert!(error.contains("repeat --amqp-url") && !error.contains("s3cret"), "{list}: {error}");
    }
    for one in ["amqp://u:p,w@a/v", "amqp://u:p@a/a,b", "amqp://u:p%40a%2Cb@c/a%3A%2F%2Fb", "amqp://u:p@w@a"] {
        assert!(one.parse::<AmqpUrl>().is_ok(), "{one}");
    }
}

#[test]
fn what_is_asked_of_tls_is_not_ignored() {
    for query in ["verify=verify_none", "server_name_indication=b", "depth=2", "keyfile=/k&password=s3cret", "verify"] {
        let error = error(&format!("amqps://user:s3cret@broker/jobs?heartbeat=5&{query}"));
        assert!(error.contains("SSL_CERT_FILE") && !error.contains("s3cret"), "{query}: {error}");
    }
    for query in ["heartbeat=5", "verify=verify_peer", "frame_max=131072&retry_delay=5"] {
        assert!(format!("amqps://broker?{query}").parse::<AmqpUrl>().is_ok(), "{query}");
    }
    let url: AmqpUrl = "amqps://broker/v?cacertfile=/etc/a%20b.pem&certfile=c.pem&keyfile=k.pem".parse().unwrap();
    let [ca, cert, key] = ["/etc/a b.pem", "c.pem", "k.pem"].map(|path| Some(PathBuf::from(path)));
    assert_eq!(url.tls(), Some(&TlsFiles { ca, cert, key }));
    assert!(!url.secret().contains("pem"), "{}", url.secret());
    assert_eq!("amqp://broker".parse::<AmqpUrl>().unwrap().tls(), None);
    assert!(error("amqp://broker?cacertfile=/ca.pem").contains("write amqps://"));
}
