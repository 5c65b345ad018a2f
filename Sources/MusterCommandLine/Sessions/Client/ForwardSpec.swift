/// `[LOCAL:]PORT`, `[LOCAL:]HOST:PORT` with a LOCAL, or `[LOCAL:]/SOCKET`: what listens here, and where its connections go. [value]
package struct ForwardSpec: Sendable, Equatable, CustomStringConvertible {
    package enum Local: Sendable, Equatable {
        /// On loopback; 0 is any that is free.
        case port(Int)
        case socket(String)
    }

    package enum Remote: Sendable, Equatable {
        case port(Int)
        case host(String, Int)
        case socket(String)
    }

    package let local: Local
    package let remote: Remote

    package init(_ text: String) throws {
        func refuse(_ why: String) -> CommandLineError {
            CommandLineError(
                "Cannot read \"\(text)\": \(why). Write PORT, LOCAL:PORT, LOCAL:HOST:PORT or LOCAL:/SOCKET; LOCAL is a port (0: any) or the path of a socket."
            )
        }
        func port(_ text: String, _ range: ClosedRange<Int>) throws -> Int {
            guard text.utf8.count <= 5, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text), range.contains(number)
            else {
                throw refuse("\"\(text)\" is no port")
            }
            return number
        }
        func socket(_ text: String) throws -> String {
            // What sockaddr_un holds beside its NUL (unix(7)).
            guard text.utf8.count <= 107 else { throw refuse("the path of a socket has at most 107 bytes") }
            return text
        }
        func here(_ text: String) throws -> Local {
            if text.contains("/") { return .socket(try socket(text)) }
            return .port(text.isEmpty ? 0 : try port(text, 0...65_535))
        }
        guard let parts = Self.parts(text) else { throw refuse("the bracket of an IPv6 address is not closed") }
        switch parts.count {
        case 1 where parts[0].hasPrefix("/"):
            local = .port(0)
            remote = .socket(try socket(parts[0]))
        case 1:
            let number = try port(parts[0], 1...65_535)
            local = .port(number)
            remote = .port(number)
        case 2 where parts[1].hasPrefix("/"):
            local = try here(parts[0])
            remote = .socket(try socket(parts[1]))
        case 2:
            local = try here(parts[0])
            remote = .port(try port(parts[1], 1...65_535))
        case 3:
            guard !parts[1].isEmpty, !parts[1].contains("/") else { throw refuse("\"\(parts[1])\" is no host") }
            local = try here(parts[0])
            remote = .host(parts[1], try port(parts[2], 1...65_535))
        default:
            throw refuse("it has too many parts; an IPv6 address needs brackets")
        }
    }

    /// Cut at the colons outside of brackets, which go.
    private static func parts(_ text: String) -> [String]? {
        var parts = [""]
        var isInside = false
        for character in text {
            switch character {
            case "[" where !isInside: isInside = true
            case "]" where isInside: isInside = false
            case ":" where !isInside: parts.append("")
            default: parts[parts.count - 1].append(character)
            }
        }
        return isInside ? nil : parts
    }

    /// What is asked of the controller.
    package var document: String {
        switch remote {
        case .port: "AWS-StartPortForwardingSession"
        case .host: "AWS-StartPortForwardingSessionToRemoteHost"
        case .socket: "AWS-StartPortForwardingSessionToSocket"
        }
    }

    package var parameters: [String: [String]] {
        switch remote {
        case .port(let port): ["portNumber": ["\(port)"]]
        case .host(let host, let port): ["host": [host], "portNumber": ["\(port)"]]
        case .socket(let path): ["socketPath": [path]]
        }
    }

    package var description: String {
        switch remote {
        case .port(let port): "port \(port)"
        case .host(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .socket(let path): path
        }
    }
}
