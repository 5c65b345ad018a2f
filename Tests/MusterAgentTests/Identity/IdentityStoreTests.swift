import Glibc
import MusterClient
import MusterCrypto
import MusterWire
import Testing

@testable import MusterAgent

struct IdentityStoreTests {
    private func withDirectory(_ body: (String) throws -> Void) throws {
        var template = Array("/tmp/muster-identity-XXXXXX".utf8CString)
        let made = String(cString: try #require(mkdtemp(&template)))
        defer { try? Folder.open("/tmp").removeTree(String(made.dropFirst("/tmp/".count))) }
        try body(made + "/state")
    }

    private func identity(key: PrivateKey? = nil, node: NodeID = .random(), notBefore: Int64 = 1_700_000_000) throws -> Identity {
        let key = try key ?? .generate()
        let authorityKey = try PrivateKey.generate()
        let authority = try CertificateAuthority.create(commonName: "CA", notBefore: 0, notAfter: 4_000_000_000, key: authorityKey)
        let leaf = try authority.issue(
            CertificateTemplate(
                commonName: node.rawValue, uris: [NodeIdentity(node: node, generation: 3).uri], notBefore: notBefore,
                notAfter: notBefore + 86_400,
                usage: .client),
            for: key.publicKey)
        return try Identity(
            node: node, generation: 3, storeEpoch: StoreEpoch(name: "epoch"), controller: Endpoint(url: "https://controller:8443"),
            key: key,
            chain: [leaf, authority.certificate], authorities: [authority.certificate], knownTime: Timestamp(milliseconds: 5))
    }

    @Test func whatIsSavedIsLoaded() throws {
        try withDirectory { directory in
            let store = try IdentityStore(stateDirectory: directory)
            #expect(try store.load() == nil)
            let identity = try identity()
            try store.save(identity)
            let loaded = try #require(try IdentityStore(stateDirectory: directory).load())
            #expect(loaded.node == identity.node)
            #expect(loaded.generation == 3)
            #expect(loaded.storeEpoch == StoreEpoch(name: "epoch"))
            #expect(loaded.controller == identity.controller)
            #expect(loaded.chain == identity.chain)
            #expect(loaded.authorities == identity.authorities)
            #expect(try loaded.key.publicKey == identity.key.publicKey)
            // The controller has certainly reached the time from which the certificate is valid.
            #expect(loaded.knownTime == Timestamp(milliseconds: 1_700_000_000_000))
        }
    }

    @Test func nobodyElseCanReadIt() throws {
        try withDirectory { directory in
            let store = try IdentityStore(stateDirectory: directory)
            try store.save(identity())
            _ = try store.pendingKey(activation: "a", controller: "c")
            _ = try store.nextConnectionNumber()
            for name in ["identity.json", "pending.json", "connection-number", ""] {
                var facts = stat()
                #expect(stat(directory + "/identity/" + name, &facts) == 0)
                #expect(facts.st_mode & 0o077 == 0)
            }
        }
    }

    @Test func connectionsAndRenewalsHaveTheirPlaceFromTheBeginning() throws {
        try withDirectory { directory in
            let store = try IdentityStore(stateDirectory: directory)
            try store.reserve()
            #expect(try store.load() == nil)
            func blocks() -> [Int] {
                ["identity.json", ".identity.json.next", "connection-number", ".connection-number.next"].map { name in
                    var facts = stat()
                    return stat(directory + "/identity/" + name, &facts) == 0 ? Int(facts.st_blocks) : -1
                }
            }
            let reserved = blocks()
            #expect(reserved[0] >= 64 && reserved[1] >= 64)
            try store.enrolled(identity())
            for _ in 0..<3 {
                try store.save(identity())
                _ = try store.nextConnectionNumber()
            }
            #expect(blocks() == reserved)
            #expect(try store.load() != nil)
            #expect(try store.nextConnectionNumber() == 4)
        }
    }

    @Test func theSameActivationAsksWithTheSameKey() throws {
        try withDirectory { directory in
            let store = try IdentityStore(stateDirectory: directory)
            let first = try store.pendingKey(activation: "a", controller: "c")
            #expect(try IdentityStore(stateDirectory: directory).pendingKey(activation: "a", controller: "c").publicKey == first.publicKey)
            #expect(try store.pendingKey(activation: "b", controller: "c").publicKey != first.publicKey)
        }
    }

    @Test func enrolmentEndsThePendingKey() throws {
        try withDirectory { directory in
            let store = try IdentityStore(stateDirectory: directory)
            let key = try store.pendingKey(activation: "a", controller: "c")
            _ = try store.nextConnectionNumber()
            try store.enrolled(identity(key: key))
            #expect(try store.load() != nil)
            #expect(try store.nextConnectionNumber() == 1)
            #expect(try store.pendingKey(activation: "a", controller: "c").publicKey != key.publicKey)
        }
    }

    @Test func connectionNumbersNeverRepeat() throws {
        try withDirectory { directory in
            var last: UInt64 = 0
            for _ in 0..<5 {
                let number = try IdentityStore(stateDirectory: directory).nextConnectionNumber()
                #expect(number == last + 1)
                last = number
            }
            let path = directory + "/identity/connection-number"
            for wrong in ["", "x\n", "18446744073709551615\n", "-1\n"] {
                let file = try #require(fopen(path, "w"))
                fputs(wrong, file)
                fclose(file)
                #expect(throws: AgentError.self) { try IdentityStore(stateDirectory: directory).nextConnectionNumber() }
            }
        }
    }

    @Test func aDamagedIdentityIsSaidToBe() throws {
        try withDirectory { directory in
            let store = try IdentityStore(stateDirectory: directory)
            for text in ["", "{}", #"{"node":"../x"}"#] {
                let file = try #require(fopen(directory + "/identity/identity.json", "w"))
                fputs(text, file)
                fclose(file)
                #expect(throws: AgentError.self) { try store.load() }
            }
        }
    }

    @Test func onlyOneAgentRunsOnAState() throws {
        try withDirectory { directory in
            let store = try IdentityStore(stateDirectory: directory)
            do {
                let lock = try store.lock(.running)
                #expect(throws: AgentError.self) { try IdentityStore(stateDirectory: directory).lock(.running) }
                withExtendedLifetime(lock) {}
            }
            _ = try store.lock(.running)
        }
    }

    @Test func aCertificateForAnotherKeyOrNodeIsRefused() throws {
        let good = try identity()
        func make(node: NodeID? = nil, generation: Int = 3, key: PrivateKey? = nil, authorities: [Certificate]? = nil) throws -> Identity {
            try Identity(
                node: node ?? good.node, generation: generation, storeEpoch: StoreEpoch(name: ""), controller: good.controller,
                key: key ?? good.key,
                chain: good.chain, authorities: authorities ?? good.authorities, knownTime: good.knownTime)
        }
        _ = try make()
        #expect(throws: AgentError.self) { try make(node: .random()) }
        #expect(throws: AgentError.self) { try make(generation: 4) }
        #expect(throws: AgentError.self) { try make(key: .generate()) }
        #expect(throws: AgentError.self) { try make(authorities: []) }
        #expect(throws: AgentError.self) { try make(authorities: [good.leaf]) }
        #expect(!"\(good)".contains("PRIVATE"))
    }
}

struct RegistrationTests {
    @Test func readsThePin() throws {
        let hex = String(repeating: "0A", count: 32)
        #expect(try Registration.digest("sha256:" + hex) == Array(repeating: 10, count: 32))
        for wrong in ["", hex, "sha256:", "sha256:" + hex + "00", "sha1:" + hex, "sha256:" + String(repeating: "zz", count: 32)] {
            #expect(throws: AgentError.self) { try Registration.digest(wrong) }
        }
    }

    @Test func theCodeComesFromAFileOrTheEnvironment() throws {
        #expect(
            try ActivationCode.read(file: nil, environment: ["MUSTER_ACTIVATION_CODE": " secret-code-of-20-chars\n"])
                == "secret-code-of-20-chars")
        #expect(throws: FileError.self) { try ActivationCode.read(file: "/nonexistent/code", environment: [:]) }
        #expect(throws: AgentError.self) { try ActivationCode.read(file: "/dev/null", environment: [:]) }
        #expect(throws: AgentError.self) { try ActivationCode.read(file: nil, environment: ["MUSTER_ACTIVATION_CODE": "two words"]) }
        #expect(throws: AgentError.self) { try ActivationCode.read(file: "/dev/zero", environment: [:]) }
    }
}

struct CertificateRenewalTests {
    @Test func renewalIsDueAroundHalfLife() {
        #expect(CertificateRenewal.renewalTime(notBefore: 1000, notAfter: 3000, spread: 0) == 2000)
        #expect(CertificateRenewal.renewalTime(notBefore: 1000, notAfter: 3000, spread: 1) == 2100)
        #expect(CertificateRenewal.renewalTime(notBefore: 3000, notAfter: 1000, spread: 1) == 3000)
    }
}

struct HostFactsTests {
    @Test func readsTheReleaseFile() {
        let text = "# comment\nNAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\nID=debian\nBROKEN\nEMPTY=\n"
        let values = HostFacts.osRelease(text)
        #expect(values["NAME"] == "Debian GNU/Linux")
        #expect(values["VERSION_ID"] == "12")
        #expect(values["ID"] == "debian")
        #expect(values["EMPTY"] == "")
    }
}

struct AlarmTests {
    @Test func ringsOnceForManyRings() async {
        let alarm = Alarm()
        alarm.ring()
        alarm.ring()
        #expect(await alarm.wait(for: .seconds(60)))
        #expect(await alarm.wait(for: .milliseconds(5)) == false)
    }

    @Test func wakesTheWaiter() async {
        let alarm = Alarm()
        async let rang = alarm.wait(for: .seconds(60))
        alarm.ring()
        #expect(await rang)
    }

    @Test func aCancelledWaitReturns() async {
        let alarm = Alarm()
        let isWaiting = Task { await alarm.wait(for: .seconds(60)) }
        isWaiting.cancel()
        #expect(await isWaiting.value == false)
    }
}
