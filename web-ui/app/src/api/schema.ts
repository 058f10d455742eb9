// Generated from openapi.json by `npm run gen`. Do not edit.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description A message that is durable here. */
        Accepted: {
            /** @description Event id. */
            id: string;
            /**
             * Format: int64
             * @description Place in the timeline.
             */
            position: number;
        };
        /** @description One repeated word. */
        Answer: {
            /**
             * Format: int32
             * @description Its place, from 0.
             */
            index: number;
            /** @description The word. */
            word: string;
        };
        /** @description Who was asked. */
        Asked: {
            /** @description `kith1…` */
            account: string;
        };
        /** @description A person none of whose devices is linked. */
        Away: {
            /** @description Account. */
            account: string;
            /** @description What would help. */
            advice?: string | null;
            /** @description Name as shown here. */
            name: string;
            /** @description Where messages are kept meanwhile, and why there is no link. */
            sentence: string;
        };
        /** @description The call that was begun. */
        Begun: {
            /** @description Its id. */
            call: string;
        };
        /** @description A call. */
        Call: {
            /**
             * Format: int64
             * @description How long it has been, or was, talked.
             */
            active_ms?: number | null;
            /** @description It is to be answered by that page without asking: both called at once. */
            auto: boolean;
            /**
             * Format: int64
             * @description When it began.
             */
            begun_at: number;
            /** @description The conversation. */
            conversation: string;
            /** @description Our address is hidden: media go through relays only. */
            hide_address: boolean;
            /** @description Its id, 32 hex digits. */
            id: string;
            /** @description Their name as shown here. */
            name: string;
            outcome?: components["schemas"]["CallOutcome"] | null;
            /** @description We call. */
            outgoing: boolean;
            /** @description With whom. */
            peer: string;
            /** @description Where it stands. */
            phase: components["schemas"]["CallPhase"];
            reason?: components["schemas"]["CallReason"] | null;
            /** @description Who carries its media here. */
            tab?: string | null;
            /** @description What the other side sends. */
            their: components["schemas"]["CallMedia"];
            /** @description It began with a picture. */
            video: boolean;
        };
        /** @description Something that whoever carries the media does. */
        CallAction: {
            /** @description Candidate lines, for `candidates`. */
            candidates?: string[];
            /** @description What. */
            do: components["schemas"]["CallDeed"];
            media?: components["schemas"]["CallMedia"] | null;
            /** @description The session description, for `answer`, `offer` and `again`. */
            sdp?: string | null;
            /** @description Who. */
            tab: string;
            /**
             * Format: int32
             * @description The number of the offer that `again` answers.
             */
            to_offer?: number | null;
        };
        /**
         * @description What is done in a call.
         * @enum {string}
         */
        CallDeed: "answer" | "offer" | "again" | "restart" | "candidates" | "media" | "keep";
        /** @description What somebody sends in a call. */
        CallMedia: {
            /** @description The microphone is on. */
            microphone: boolean;
            /** @description What is shown is a screen. */
            screen: boolean;
            /** @description A camera or screen is shown. */
            video: boolean;
        };
        /** @description A call, and what came in it. */
        CallNow: {
            /** @description The call. */
            call: components["schemas"]["Call"];
            /** @description What came, in order. */
            signals: components["schemas"]["CallSignal"][];
        };
        /**
         * @description What became of a call.
         * @enum {string}
         */
        CallOutcome: "answered" | "unanswered" | "declined" | "busy" | "cancelled" | "failed" | "gave_way";
        /**
         * @description Where a call stands here.
         * @enum {string}
         */
        CallPhase: "calling" | "ringing" | "incoming" | "answering" | "active" | "elsewhere" | "over";
        /**
         * @description Why a call ended.
         * @enum {string}
         */
        CallReason: "hung_up" | "declined" | "busy" | "lost" | "wrong_key" | "removed";
        /** @description A server that helps media to find their way. */
        CallServer: {
            /** @description For TURN. */
            credential?: string | null;
            /** @description `stun:` and `turn:` addresses. */
            urls: string[];
            /** @description For TURN. */
            username?: string | null;
        };
        /** @description What a page needs to find a path. */
        CallServers: {
            /** @description Only addresses of relays may be used. */
            hide_address: boolean;
            /** @description Servers of the own relays. */
            servers: components["schemas"]["CallServer"][];
        };
        /** @description Something of the other side for whoever carries the media. */
        CallSignal: {
            /** @description Candidate lines. */
            candidates: string[];
            /**
             * @description The one key that media may be sealed with, as SHA-256 in hex with
             *     colons: whatever else is met on the way is an attacker.
             */
            fingerprint?: string | null;
            /** @description What it is. */
            kind: components["schemas"]["CallSignalKind"];
            /**
             * Format: int32
             * @description Counts what came in the call, from 1.
             */
            number: number;
            /** @description The session description. */
            sdp?: string | null;
            /**
             * Format: int32
             * @description Number of an offer, for its answer.
             */
            seq: number;
        };
        /**
         * @description What a signal of the other side is.
         * @enum {string}
         */
        CallSignalKind: "offer" | "answer" | "candidates" | "restart";
        /** @description How a device that has fallen behind comes back into its group. */
        CatchingUp: {
            /**
             * Format: int32
             * @description Members that were asked to let this device in again. 0: it still looks
             *     for the way by itself.
             */
            asked: number;
            /**
             * Format: int64
             * @description When further ones are asked.
             */
            next_at?: number | null;
        };
        /** @description Which words to repeat. */
        Challenge: {
            /** @description Three places, from 0. */
            indexes: number[];
        };
        /** @description What to change about a contact; what is absent stays. */
        ChangeContact: {
            /** @description Private name; null or empty takes it away. */
            nickname?: string | null;
            /** @description Safety numbers were compared. */
            verified?: boolean | null;
        };
        /** @description Repeated words. */
        Confirm: {
            /** @description One for each place asked for. */
            answers: components["schemas"]["Answer"][];
        };
        /** @description A person. */
        Contact: {
            /** @description Their about text. */
            about: string;
            /** @description `kith1…` */
            account: string;
            /** @description The direct conversation, once there is one. */
            conversation?: string | null;
            /** @description Greeting of an incoming or own request. */
            greeting: string;
            /** @description Our address is hidden from them in calls: media go through relays only. */
            hide_address: boolean;
            /** @description Their own name. */
            name: string;
            /** @description Our private name for them. */
            nickname?: string | null;
            /** @description Request problems, as a sentence, if any. */
            problem?: string | null;
            /**
             * Format: int64
             * @description When this state began.
             */
            since: number;
            /** @description Where we stand. */
            state: components["schemas"]["ContactState"];
            /** @description Safety number compared. */
            verified: boolean;
        };
        /**
         * @description How far a person has come as a contact.
         * @enum {string}
         */
        ContactState: "requested" | "incoming" | "accepted" | "refused" | "known" | "blocked";
        /** @description What a timeline row is. */
        Content: {
            /** @enum {string} */
            kind: "text";
            /** @description The text. */
            text: string;
        } | {
            /** @description Words beside it; may be empty. */
            caption: string;
            /** @description The file, with what its sender says of it. */
            file: components["schemas"]["File"];
            /** @enum {string} */
            kind: "file";
        } | {
            /**
             * @description Names and titles to fill in, in the order of the catalogue's sentence. An empty name: it is not
             *     known here who did it. Roles as `owner`, `admin`, `member`.
             */
            args: string[];
            /**
             * @description Stable code: `created`, `added`, `removed`, `left`, `renamed`, `joined`, `role`, `heir`, `back`,
             *     `withdrawn_added`, `withdrawn_removed`, `withdrawn_role`, `named`, `again`, `not_applied`,
             *     `reported`, `device_changed`.
             */
            code: string;
            /** @enum {string} */
            kind: "notice";
        } | {
            /** @description Its author's account. */
            author: string;
            /** @description Its author's name as shown here. */
            author_name: string;
            /** @description The message's event id. */
            event: string;
            /** @description The message is here, so that the quote is its own words; else they are the reporter's. */
            held: boolean;
            /** @enum {string} */
            kind: "report";
            /** @description We may remove the message's author from the group. */
            may_remove: boolean;
            /** @description Nobody has put it aside on this device. */
            open: boolean;
            /** @description What it says, at most 1 KiB. */
            quote: string;
            /** @description What the member said to it; may be empty. */
            reason: string;
        } | {
            /** @description Its id. */
            call: string;
            /** @enum {string} */
            kind: "call";
            /** @description What became of it. */
            outcome: components["schemas"]["CallOutcome"];
            /** @description We called. */
            outgoing: boolean;
            /** @description Why it ended. */
            reason: components["schemas"]["CallReason"];
            /**
             * Format: int64
             * @description How long it was talked.
             */
            talked_ms: number;
            /** @description It began with a picture. */
            video: boolean;
        } | {
            /** @enum {string} */
            kind: "newer";
        };
        /** @description A conversation as the list shows it. */
        Conversation: {
            /**
             * Format: int64
             * @description Sorts the list: time of the last thing that happened.
             */
            active_at: number;
            catching_up?: components["schemas"]["CatchingUp"] | null;
            /** @description Group id. */
            id: string;
            /** @description Direct or group. */
            kind: components["schemas"]["ConversationKind"];
            last?: components["schemas"]["Preview"] | null;
            /**
             * Format: int32
             * @description Accounts in it.
             */
            member_count: number;
            /** @description The other account of a direct conversation. */
            peer?: string | null;
            /**
             * Format: int64
             * @description Position up to which the person has read.
             */
            read_position: number;
            /** @description May we write. */
            standing: components["schemas"]["Standing"];
            /** @description Group title, or the other person's name as shown here. */
            title: string;
            /**
             * Format: int64
             * @description Messages behind the read mark.
             */
            unread: number;
        };
        /** @description A conversation's details. */
        ConversationDetails: {
            /** @description As in the list. */
            conversation: components["schemas"]["Conversation"];
            /**
             * Format: int64
             * @description MLS epoch, for the curious.
             */
            epoch: number;
            /** @description We may add people and make invites that lead here. */
            may_add: boolean;
            /** @description We may rename it. */
            may_rename: boolean;
            /** @description Members, oneself first, then by role and name. */
            members: components["schemas"]["Member"][];
            /** @description Names of the relays that the group uses. */
            relays: string[];
            /** @description Own role. */
            role: components["schemas"]["Role"];
            /** @description Tip state id, for the curious. */
            state: string;
        };
        /**
         * @description Kind of conversation.
         * @enum {string}
         */
        ConversationKind: "direct" | "group";
        /** @description A new account. */
        Create: {
            /** @description Name shown to others. */
            name: string;
            /** @description At least 8 characters. */
            passphrase: string;
        };
        /** @description Delivery of one own message. */
        Delivery: {
            /** @description Every recipient device. */
            devices: components["schemas"]["DeviceDelivery"][];
            /** @description The reason when it failed, as a sentence. */
            problem?: string | null;
            /** @description Relays that were asked to keep it, and what each of them said. */
            relays: components["schemas"]["RelayCopy"][];
            /** @description The summary. */
            state: components["schemas"]["DeliveryState"];
        };
        /**
         * @description What became of an own message, over all recipients.
         * @enum {string}
         */
        DeliveryState: "queued" | "stored" | "delivered" | "delivered_all" | "read" | "failed";
        /** @description Delivery to one device. */
        DeviceDelivery: {
            /** @description Account. */
            account: string;
            /**
             * Format: int64
             * @description When the device acknowledged or read it, if it did.
             */
            at?: number | null;
            /** @description Device id. */
            device: string;
            /** @description Name as shown here. */
            name: string;
            /** @description `queued`, `stored`, `delivered`, `read` or `failed`. */
            state: components["schemas"]["DeliveryState"];
        };
        /**
         * @description What the UI is told as it happens. Sent over the event stream as JSON with
         *     a `type` field.
         */
        Event: {
            /** @description Its conversation. */
            conversation: string;
            /** @description The message as it is now. */
            message: components["schemas"]["Message"];
            /** @enum {string} */
            type: "message";
        } | {
            /** @description Its conversation. */
            conversation: string;
            /**
             * Format: int64
             * @description Where it stood.
             */
            position: number;
            /** @enum {string} */
            type: "message_removed";
        } | {
            /** @description As it is now. */
            conversation: components["schemas"]["Conversation"];
            /** @enum {string} */
            type: "conversation";
        } | {
            /** @description Its id. */
            id: string;
            /** @enum {string} */
            type: "conversation_removed";
        } | {
            /** @description As it is now. */
            contact: components["schemas"]["Contact"];
            /** @enum {string} */
            type: "contact";
        } | {
            /** @description As of now. */
            progress: components["schemas"]["FileProgress"];
            /** @enum {string} */
            type: "file_progress";
        } | {
            /** @description Who. */
            account: string;
            /** @description Where. */
            conversation: string;
            /** @enum {string} */
            type: "typing";
        } | {
            /** @description As it is now. */
            call: components["schemas"]["Call"];
            /** @enum {string} */
            type: "call";
        } | {
            /** @description The call. */
            call: string;
            /** @description What came. */
            signal: components["schemas"]["CallSignal"];
            /** @description Who carries its media here, if anybody does by now. */
            tab?: string | null;
            /** @enum {string} */
            type: "call_signal";
        } | {
            /** @description As it is now. */
            network: components["schemas"]["Network"];
            /** @enum {string} */
            type: "network";
        } | {
            /** @description Stable code. */
            code: string;
            /** @description Where, if anywhere. */
            conversation?: string | null;
            /** @description A sentence. */
            message: string;
            /** @enum {string} */
            type: "notice";
        };
        /** @description Every further frame of the event stream. */
        EventFrame: {
            /** @description What happened. */
            event: components["schemas"]["Event"];
            /**
             * Format: int64
             * @description Ascending by one.
             */
            seq: number;
        };
        /** @description A file. Name, type and looks are words of its sender, made fit to show. */
        File: {
            at_relays?: components["schemas"]["KeptAtRelays"] | null;
            /**
             * Format: int64
             * @description Length of a film or recording; 0 = unknown.
             */
            duration_ms: number;
            /**
             * Format: int32
             * @description Pixels; 0 = unknown.
             */
            height: number;
            /** @description Its id on this node, 64 hex digits. */
            id: string;
            /** @description It stays when room is made. */
            keep: boolean;
            /** @description Media type, like `image/jpeg`; empty = unknown. */
            media_type: string;
            /** @description Its name: no path, safe to save under. */
            name: string;
            /** @description It was added here. */
            own: boolean;
            /** @description A small picture as a `data:` URL. */
            preview?: string | null;
            /** @description Why it is not being fetched, as a sentence. */
            problem?: string | null;
            /**
             * Format: int64
             * @description Bytes.
             */
            size: number;
            /** @description Whether its bytes are here. */
            state: components["schemas"]["FileState"];
            /** @description It was recorded as a voice message. */
            voice: boolean;
            /** @description Loudness over time of a voice message, 0 to 255. */
            waveform: number[];
            /**
             * Format: int32
             * @description Pixels; 0 = unknown.
             */
            width: number;
        };
        /** @description A file, and how far it is. */
        FileNow: {
            /** @description The file. */
            file: components["schemas"]["File"];
            progress?: components["schemas"]["FileProgress"] | null;
        };
        /** @description A page of a conversation's files. */
        FilePage: {
            /** @description Newest first. */
            files: components["schemas"]["SharedFile"][];
            /** @description Older ones exist behind the last. */
            more: boolean;
        };
        /**
         * @description How far the fetching of a file is, or, where it is all here, how far it is
         *     on its way to relays.
         */
        FileProgress: {
            /**
             * Format: int64
             * @description Bytes of it that are here, verified; or at the relay.
             */
            have: number;
            /** @description The file. */
            id: string;
            /**
             * Format: int64
             * @description Bytes per second over the last seconds.
             */
            rate: number;
            /**
             * Format: int64
             * @description Bytes of it.
             */
            size: number;
            /**
             * Format: int32
             * @description Devices and relays that it comes from; 0 = nobody who has it can be reached.
             */
            sources: number;
        };
        /** @description How much may be fetched, kept and moved. */
        FileSettings: {
            /**
             * Format: int64
             * @description Files up to this size are fetched without being asked for.
             */
            auto_bytes: number;
            /**
             * Format: int64
             * @description Bytes of fetched files that are kept; what was not looked at for longest goes first.
             */
            cache_bytes: number;
            /**
             * Format: int64
             * @description Bytes per second from others; 0 = no limit.
             */
            down_bytes_per_s: number;
            /**
             * Format: int64
             * @description Bytes per second to others; 0 = no limit.
             */
            up_bytes_per_s: number;
        };
        /**
         * @description Whether a file's bytes are here.
         * @enum {string}
         */
        FileState: "offered" | "fetching" | "paused" | "here" | "gone";
        /** @description A finding of the doctor about this node itself. */
        Finding: {
            /** @description What would help. */
            advice?: string | null;
            /** @description What is. */
            sentence: string;
        };
        /** @description How a call ends. */
        HangUp: {
            /** @description `hung_up` (the default; declines what rings), `lost` or `wrong_key`. */
            reason?: string | null;
        };
        /** @description Whether the node is there, and where its vault stands. */
        Health: {
            /** @description Where the vault stands. */
            state: components["schemas"]["VaultState"];
            /** @description Version of this node. */
            version: string;
        };
        /** @description First frame of the event stream. */
        Hello: {
            /** @description Where the stream begins. */
            hello: components["schemas"]["StreamStart"];
        };
        /** @description Whether the own address is hidden from somebody. */
        HideAddress: {
            /** @description Media go through relays only. */
            hide: boolean;
        };
        /** @description An invite made here. */
        Invite: {
            /** @description The group it leads to; none for contacts. */
            conversation?: string | null;
            /**
             * Format: int64
             * @description End of validity.
             */
            expires_at: number;
            /** @description Invite id. */
            id: string;
            /** @description The link to pass on. */
            link: string;
            /**
             * Format: int32
             * @description Uses at first.
             */
            uses: number;
            /**
             * Format: int32
             * @description Uses left.
             */
            uses_left: number;
        };
        /** @description Whether a file stays. */
        Keep: {
            /** @description It stays when room is made. */
            keep: boolean;
        };
        /** @description What relays hold of an own file, for people who were away. */
        KeptAtRelays: {
            /** @enum {string} */
            kind: "waiting";
        } | {
            /** @enum {string} */
            kind: "until";
            /**
             * Format: int64
             * @description Kept until then.
             */
            until: number;
        } | {
            /** @enum {string} */
            kind: "too_large";
        } | {
            /** @enum {string} */
            kind: "paused";
        };
        /** @description A fresh sign-in link. */
        Link: {
            /** @description Works once, within five minutes. */
            url: string;
        };
        /** @description The conversation that was made. */
        Made: {
            /** @description Its id. */
            conversation: string;
        };
        /** @description Own account and device. */
        Me: {
            /** @description About text. */
            about: string;
            /** @description `kith1…` */
            account: string;
            /** @description Device id. */
            device: string;
            /** @description Name shown to others. */
            name: string;
            /**
             * Format: int64
             * @description When the account was made here.
             */
            since: number;
        };
        /** @description A member of a conversation. */
        Member: {
            /** @description `kith1…` */
            account: string;
            /**
             * Format: int32
             * @description Devices in the group.
             */
            devices: number;
            /** @description We may make them an admin. */
            may_make_admin: boolean;
            /** @description We may take their role away; of ourselves: lay our own down. */
            may_make_member: boolean;
            /** @description We may make them an owner. */
            may_make_owner: boolean;
            /** @description We may remove them. */
            may_remove: boolean;
            /** @description It is us. */
            me: boolean;
            /** @description Name as shown here. */
            name: string;
            /** @description Role. */
            role: components["schemas"]["Role"];
            /** @description A mark of theirs on this chain is held: they really are here. */
            seen: boolean;
            /** @description Safety number compared. */
            verified: boolean;
        };
        /** @description Contacts to add. */
        Members: {
            /** @description `kith1…` */
            members: string[];
        };
        /** @description One row of a timeline. */
        Message: {
            /**
             * Format: int64
             * @description When it was written, by the author's clock (bounded).
             */
            at: number;
            /** @description Author's account. */
            author: string;
            /** @description Author's name as shown here. */
            author_name: string;
            /** @description What it is. */
            content: components["schemas"]["Content"];
            delivery?: components["schemas"]["DeliveryState"] | null;
            /** @description Event id (for notices: of the row). */
            id: string;
            /** @description We may report it: somebody is admin who neither wrote it nor is us. */
            may_report: boolean;
            /** @description Written by this account. */
            mine: boolean;
            /**
             * Format: int64
             * @description Place in the timeline, ascending, never reused.
             */
            position: number;
            reply_to?: components["schemas"]["Quote"] | null;
            /**
             * Format: int32
             * @description Relays that hold it while `stored`.
             */
            stored_at: number;
            /**
             * Format: int64
             * @description End of storage at relays while `stored`.
             */
            stored_until?: number | null;
        };
        /** @description A page of a timeline. */
        MessagePage: {
            /** @description Ascending by position. */
            messages: components["schemas"]["Message"][];
            /** @description Newer rows exist behind the last. */
            more_after: boolean;
            /** @description Older rows exist before the first. */
            more_before: boolean;
        };
        /** @description The network in one view. */
        Network: {
            /** @description Own addresses in use. */
            addrs: string[];
            /** @description People that are not connected, at most [`AWAY_LIST_MAX`]. */
            away: components["schemas"]["Away"][];
            /** @description What the doctor has to say about this node. */
            findings: components["schemas"]["Finding"][];
            /** @description Live links to people. */
            peers: components["schemas"]["PeerLink"][];
            /** @description Relays in use. */
            relays: components["schemas"]["Relay"][];
            /**
             * Format: int32
             * @description Objects waiting here for a path.
             */
            waiting: number;
        };
        /** @description A new call. */
        NewCall: {
            /** @description The offer, a session description. */
            sdp: string;
            /** @description Who carries the media: 1 to 64 letters and digits, chosen by the caller. */
            tab: string;
            /** @description Begins with a picture. */
            video: boolean;
        };
        /** @description A new group. */
        NewGroup: {
            /** @description Contacts to add, `kith1…`. */
            members: string[];
            /** @description Its title. */
            title: string;
        };
        /** @description A new invite. */
        NewInvite: {
            /** @description The group to invite to; absent: to become a contact. */
            conversation?: string | null;
            /**
             * Format: int32
             * @description How often it can be used.
             */
            uses: number;
            /**
             * Format: int64
             * @description Validity in seconds.
             */
            valid_s: number;
        };
        /** @description How a picture, film or recording looks or sounds. */
        NewLook: {
            /**
             * Format: int64
             * @description Length in milliseconds; 0 = unknown.
             */
            duration_ms?: number;
            /**
             * Format: int32
             * @description Pixels; 0 = unknown.
             */
            height?: number;
            /** @description A small JPEG or WebP (at most 640 pixels a side, 24 KiB), base64. */
            preview?: string;
            /** @description It was recorded as a voice message. */
            voice?: boolean;
            /** @description Loudness over time, at most 128 values. */
            waveform?: number[];
            /**
             * Format: int32
             * @description Pixels; 0 = unknown.
             */
            width?: number;
        };
        /** @description A role in a group. */
        NewRole: {
            /** @description The role to give; `member` takes a higher one away. */
            role: components["schemas"]["Role"];
        };
        /** @description All settings. */
        NewSettings: {
            /** @description Dial and accept direct connections. Off: relays only. */
            direct: boolean;
            /** @description Tell others what was read. */
            read_receipts: boolean;
            /** @description Tell others that one is typing. */
            typing: boolean;
        };
        /** @description A change of passphrase. */
        Passphrase: {
            /** @description At least 8 characters. */
            new: string;
            /** @description The present one. */
            old: string;
        };
        /** @description A live link to another person's device. */
        PeerLink: {
            /** @description Account, once proven. */
            account?: string | null;
            /** @description What would help. */
            advice?: string | null;
            /** @description `lan`, `direct_quic`, `direct_tcp`, `punched` or `relayed`. */
            label: string;
            /** @description Name as shown here. */
            name: string;
            /** @description `direct_quic`, `direct_tcp` or `circuit`. */
            path: string;
            /** @description Name of the relay in between. */
            relay?: string | null;
            /**
             * Format: int32
             * @description The last round trip, ms.
             */
            rtt_ms?: number | null;
            /** @description What the path is and why it is not better, as the doctor says it. */
            sentence: string;
            /**
             * Format: int64
             * @description Since when, Unix ms.
             */
            since: number;
        };
        /** @description The newest message of a conversation in one line. */
        Preview: {
            /**
             * Format: int64
             * @description When.
             */
            at: number;
            /** @description Author's name as shown here; none for own messages. */
            author?: string | null;
            state?: components["schemas"]["DeliveryState"] | null;
            /** @description At most 200 characters. */
            text: string;
        };
        /** @description Why a request was not carried out. Nothing has changed. */
        Problem: {
            /** @description Stable, for programs. */
            code: string;
            /** @description A sentence that says what to do. */
            message: string;
            /**
             * Format: int64
             * @description Seconds to wait before another try, with status 429.
             */
            retry_after_s?: number | null;
        };
        /** @description Own profile. */
        Profile: {
            /** @description About text. */
            about: string;
            /** @description Name shown to others. */
            name: string;
        };
        /** @description A quoted message in short. */
        Quote: {
            /** @description Author's name as shown here. */
            author_name: string;
            /** @description Event id. */
            id: string;
            /** @description At most 200 characters. */
            text: string;
        };
        /** @description A place in the timeline. */
        ReadMark: {
            /**
             * Format: int64
             * @description Everything up to here was seen.
             */
            position: number;
        };
        /** @description What there is to say to a reported message. */
        Reason: {
            /** @description At most 1 KiB; may be empty. */
            reason?: string;
        };
        /** @description Recovery on this machine. */
        Recover: {
            /** @description The new passphrase. */
            passphrase: string;
            /** @description The 24 words, separated by spaces. */
            words: string;
        };
        /** @description State of a relay. */
        Relay: {
            /** @description What would help. */
            advice?: string | null;
            /** @description Relay id. */
            id: string;
            /** @description The community link. */
            link: string;
            /** @description Name from its statement or link. */
            name: string;
            /** @description `direct_quic` or `direct_tcp`, while connected. */
            path?: string | null;
            /** @description Why not, as a sentence. */
            problem?: string | null;
            /**
             * Format: int64
             * @description How long it keeps messages, seconds.
             */
            retention_s?: number | null;
            /**
             * Format: int32
             * @description The last round trip, ms.
             */
            rtt_ms?: number | null;
            /** @description How it stands, as the doctor says it. */
            sentence: string;
            /**
             * Format: int64
             * @description Since when it is connected, Unix ms.
             */
            since?: number | null;
            /** @description Connected. */
            up: boolean;
        };
        /** @description What a relay said when it was asked to keep a message. */
        RelayCopy: {
            /** @description Why it refused, as a sentence. */
            problem?: string | null;
            /** @description The relay's name. */
            relay: string;
            /** @description What that is worth now. */
            state: components["schemas"]["RelayCopyState"];
            /**
             * Format: int64
             * @description Kept until, Unix ms; 0 if it refused.
             */
            until: number;
        };
        /**
         * @description What a relay's copy of a message is worth.
         * @enum {string}
         */
        RelayCopyState: "stored" | "silent" | "lost" | "refused";
        /** @description A community link. */
        RelayLink: {
            /** @description `kith-relay:…` */
            link: string;
        };
        /** @description What trying out a relay found. */
        RelayTest: {
            /** @description Its name. */
            name: string;
            /** @description It answered and would serve us. */
            ok: boolean;
            /** @description What is wrong, as a sentence. */
            problem?: string | null;
            /**
             * Format: int64
             * @description How long it keeps messages, seconds.
             */
            retention_s?: number | null;
        };
        /**
         * @description Role in a group.
         * @enum {string}
         */
        Role: "owner" | "admin" | "member";
        /** @description A safety number. */
        Safety: {
            /** @description 12 groups of 5 digits. */
            digits: string[];
            /** @description What the QR code holds. */
            qr_text: string;
            /** @description Compared and confirmed here. */
            verified: boolean;
        };
        /** @description A file to send. */
        SendFile: {
            /** @description Words beside it, at most 16 KiB. */
            caption?: string;
            /** @description A file that is here, 64 hex digits. */
            file: string;
            /** @description Chosen by the client, at most 64 bytes: the same key again answers as the first time. */
            key: string;
            look?: components["schemas"]["NewLook"] | null;
            /** @description The message it answers. */
            reply_to?: string | null;
        };
        /** @description The caller's session. */
        Session: {
            /** @description Own name, while unlocked. */
            name?: string | null;
            /** @description Where the vault stands. */
            state: components["schemas"]["VaultState"];
        };
        /** @description Privacy and network settings. */
        Settings: {
            /** @description Dial and accept direct connections. Off: relays only. */
            direct: boolean;
            /** @description Tell others what was read. */
            read_receipts: boolean;
            /** @description Tell others that one is typing. */
            typing: boolean;
        };
        /** @description A file where somebody shared it. */
        SharedFile: {
            /**
             * Format: int64
             * @description When it was sent, Unix ms.
             */
            at: number;
            /** @description Its author, as this person calls them. */
            author_name: string;
            /** @description The file. */
            file: components["schemas"]["File"];
            /** @description The message that brought it. */
            message: string;
            /**
             * Format: int64
             * @description The message's place in the conversation.
             */
            position: number;
        };
        /**
         * @description Whether one can write here.
         * @enum {string}
         */
        Standing: "active" | "joining" | "left" | "removed";
        /** @description What files take of the disk. */
        Storage: {
            /**
             * Format: int64
             * @description Bytes of fetched files that may make room.
             */
            cached_bytes: number;
            /** @description Per conversation, most first. */
            conversations: components["schemas"]["StoredFiles"][];
            /**
             * Format: int64
             * @description Bytes that the disk has left.
             */
            free_bytes: number;
            /** @description The bounds. */
            settings: components["schemas"]["FileSettings"];
        };
        /** @description Files of one conversation that are here. */
        StoredFiles: {
            /**
             * Format: int64
             * @description Bytes of all of them.
             */
            bytes: number;
            /** @description The conversation; empty = files in no message. */
            conversation: string;
            /**
             * Format: int64
             * @description How many.
             */
            files: number;
            /**
             * Format: int64
             * @description Bytes of fetched ones that stay.
             */
            kept_bytes: number;
            /** @description The largest, at most 100. */
            list: components["schemas"]["File"][];
            /**
             * Format: int64
             * @description Bytes of those that were sent from here.
             */
            own_bytes: number;
            /** @description Its title. */
            title: string;
        };
        /** @description Where an event stream begins. */
        StreamStart: {
            /** @description The gap cannot be filled: fetch everything anew. */
            resync: boolean;
            /** @description Names this run of the node; numbers of another run mean nothing. */
            run: string;
            /**
             * Format: int64
             * @description The number before the next event's.
             */
            seq: number;
        };
        /** @description The node's description, with all of its addresses. */
        TestAnswer: {
            /** @description The answer. */
            sdp: string;
        };
        /** @description A page's description, with all of its addresses. */
        TestCall: {
            /** @description The offer. */
            sdp: string;
        };
        /** @description A message to send. */
        Text: {
            /** @description Chosen by the client, at most 64 bytes: the same key again answers as the first time. */
            key: string;
            /** @description The message it answers. */
            reply_to?: string | null;
            /** @description At most 64 KiB. */
            text: string;
        };
        /** @description A new title. */
        Title: {
            /** @description The title. */
            title: string;
        };
        /** @description The passphrase. */
        Unlock: {
            /** @description As chosen. */
            passphrase: string;
        };
        /** @description An invite link to use. */
        UseInvite: {
            /** @description Shown to the person who is asked. */
            greeting: string;
            /** @description `kith-invite:…`, for a contact or a group. */
            link: string;
        };
        /**
         * @description Where the vault stands.
         * @enum {string}
         */
        VaultState: "fresh" | "locked" | "unlocked";
        /** @description The recovery words, shown once. */
        Words: {
            /** @description 24 words in order. */
            words: string[];
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
