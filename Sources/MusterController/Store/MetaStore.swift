package import MusterWire

/// Single facts about this store.
package enum MetaStore {
    package enum Key: String, Sendable {
        /// Made once with the store. An agent that knows another one faces a store that was restored or replaced.
        case storeEpoch = "store_epoch"
        /// StoreRestoration as JSON, of a store that was restored: how nodes and the audit trail's watch know that it was meant.
        case restoration
        /// Grows at every start, so that what an earlier run of the controller sent can be told from what this one sends.
        case dispatchFence = "dispatch_fence"
        /// Written to see whether changes are taken.
        case readyAt = "ready_at"
        case pageTokenKey = "page_token_key"
        case account
        /// What the controller's own certificate is issued for, besides the configuration's names; joined by spaces.
        case names
        case initialisedAt = "initialised_at"
        /// Grows with every change of the certificate authorities, so that a running controller notices it by reading one row.
        case authorityRevision = "authority_revision"
        /// Grows with everything that may take a right away, so that what it allowed is looked at again within a second.
        case accessRevision = "access_revision"
        /// Where `init` wrote the first operator's profile: its CA bundle is kept up to date as long as it stays there.
        case profileDirectory = "profile_directory"
    }

    package static func value(_ key: Key, in tx: any SQLTransaction) throws -> String? {
        try tx.first("SELECT value FROM meta WHERE key = $1", [.text(key.rawValue)])?.text("value")
    }

    package static func set(_ key: Key, to value: String, in tx: any SQLTransaction) throws {
        try tx.execute(
            "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2",
            [.text(key.rawValue), .text(value)])
    }

    /// Counts one further.
    package static func advance(_ key: Key, in tx: any SQLTransaction) throws {
        let number = try value(key, in: tx).flatMap { Int64($0) } ?? 0
        try set(key, to: String(number + 1), in: tx)
    }

    /// The value that is there, or else the new one.
    package static func ensure(_ key: Key, _ make: () -> String, in tx: any SQLTransaction) throws -> String {
        if let value = try value(key, in: tx) { return value }
        let value = make()
        try set(key, to: value, in: tx)
        return value
    }
}

/// Which store this is, as nodes are told. [value]
package struct StoreIdentity: Sendable {
    package let epoch: String
    package let restoration: StoreRestoration?

    package init(epoch: String, restoration: StoreRestoration? = nil) {
        (self.epoch, self.restoration) = (epoch, restoration)
    }

    package init(in tx: any SQLTransaction) throws {
        epoch = try MetaStore.value(.storeEpoch, in: tx) ?? ""
        restoration = try MetaStore.value(.restoration, in: tx).map { try JSONCoding.decode(StoreRestoration.self, from: Array($0.utf8)) }
    }
}
