// First run: name and passphrase, the 24 words once, three of them checked,
// then a community or none. The words live in this component only.

import { useState, type FormEvent } from "react";
import { useQuery } from "@tanstack/react-query";
import { api, sentence } from "../api/client";
import { client, keys } from "../api/cache";
import { useAction } from "../api/queries";
import type { Relay } from "../api/types";
import { t } from "../i18n";
import { byteLength } from "../lib/text";
import { Icon } from "../ui/icon";
import { Button, Input, Passphrase, Skeleton, StrengthHint } from "../ui/kit";
import { Card } from "./card";

const STEPS = 4;
/** A bound that keeps key derivation from a body of any size. */
const PASSPHRASE_CHARS_MAX = 1024;
const PASSPHRASE_CHARS_MIN = 8;
const NAME_BYTES_MAX = 128;

/** What is wrong with a new passphrase, if anything. */
export function passphraseProblem(passphrase: string): string | null {
  return [...passphrase].length < PASSPHRASE_CHARS_MIN ? t.onboarding.needPassphrase : null;
}

function Identity({ onWords }: { onWords: (words: string[]) => void }) {
  const [name, setName] = useState("");
  const [passphrase, setPassphrase] = useState("");
  const [repeat, setRepeat] = useState("");
  const [shown, setShown] = useState(false);
  const [tried, setTried] = useState(false);
  const create = useAction(
    (body: { name: string; passphrase: string }) => api.post<{ words: string[] }>("/vault/create", body),
    { quiet: true, done: (answer) => onWords(answer.words) },
  );

  const own = name.trim();
  const problems = {
    name: own === "" ? t.onboarding.needName : byteLength(own) > NAME_BYTES_MAX ? t.onboarding.nameLong : null,
    passphrase: passphraseProblem(passphrase),
    repeat: repeat === passphrase ? null : t.onboarding.differ,
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (problems.name ?? problems.passphrase ?? problems.repeat) return;
    create.mutate({ name: own, passphrase });
  };

  return (
    <Card title={t.onboarding.welcome} step={{ n: 1, of: STEPS }}>
      <p className="-mt-3 text-sm text-soft">{t.onboarding.welcomeBody}</p>
      <form noValidate onSubmit={submit} className="flex flex-col gap-4">
        <Input
          label={t.onboarding.name}
          hint={t.onboarding.nameHint}
          problem={tried ? problems.name : null}
          value={name}
          maxLength={NAME_BYTES_MAX}
          autoComplete="nickname"
          autoFocus
          onChange={(event) => setName(event.target.value)}
        />
        <Passphrase
          label={t.onboarding.passphrase}
          hint={t.onboarding.passphraseHint}
          problem={tried ? problems.passphrase : null}
          value={passphrase}
          maxLength={PASSPHRASE_CHARS_MAX}
          autoComplete="new-password"
          shown={shown}
          onShow={setShown}
          onChange={(event) => setPassphrase(event.target.value)}
        />
        <StrengthHint passphrase={passphrase} />
        <Passphrase
          label={t.onboarding.repeat}
          problem={tried ? problems.repeat : null}
          value={repeat}
          maxLength={PASSPHRASE_CHARS_MAX}
          autoComplete="new-password"
          shown={shown}
          onChange={(event) => setRepeat(event.target.value)}
        />
        {create.error === null ? null : <Problem text={sentence(create.error)} />}
        <Button type="submit" look="primary" wide busy={create.isPending}>
          {create.isPending ? t.onboarding.working : t.onboarding.continue}
        </Button>
      </form>
    </Card>
  );
}

/** A refusal that stands next to the button that caused it. */
export function Problem({ text }: { text: string }) {
  return (
    <p role="alert" className="flex items-start gap-2 rounded-lg bg-bad-tint p-3 text-sm text-bad">
      <Icon name="alert" size={16} className="mt-0.5 shrink-0" />
      <span className="min-w-0 break-words">{text}</span>
    </p>
  );
}

function Words({ words, onNext }: { words: string[]; onNext: () => void }) {
  return (
    <Card title={t.onboarding.words} step={{ n: 2, of: STEPS }} wide>
      <p className="-mt-3 text-sm text-soft">{t.onboarding.wordsBody}</p>
      <ol aria-label={t.onboarding.wordsList} className="grid grid-cols-2 gap-x-4 gap-y-2 wide:grid-cols-4">
        {words.map((word, index) => (
          <li key={`${index}-${word}`} className="flex items-baseline gap-2 rounded-lg border border-line px-3 py-2">
            <span className="w-5 shrink-0 text-right text-xs text-soft tabular-nums">{index + 1}</span>
            <span data-word translate="no" className="font-mono text-sm">
              {word}
            </span>
          </li>
        ))}
      </ol>
      <p className="flex items-start gap-2 text-sm">
        <Icon name="alert" size={16} className="mt-0.5 shrink-0 text-warn" />
        <span>{t.onboarding.wordsWarning}</span>
      </p>
      <Button look="primary" onPress={onNext}>
        {t.onboarding.wrote}
      </Button>
    </Card>
  );
}

function Check({ onBack, onConfirmed }: { onBack: () => void; onConfirmed: () => void }) {
  const challenge = useQuery({
    queryKey: ["challenge"],
    queryFn: ({ signal }) => api.get<{ indexes: number[] }>("/vault/challenge", { signal }),
    gcTime: 0,
  });
  const [answers, setAnswers] = useState<Record<number, string>>({});
  const [tried, setTried] = useState(false);
  const confirm = useAction(
    (body: { answers: { index: number; word: string }[] }) => api.post("/vault/confirm", body),
    { quiet: true, done: onConfirmed },
  );
  const indexes = challenge.data?.indexes ?? [];
  const word = (index: number) => (answers[index] ?? "").trim().toLowerCase();

  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (indexes.length === 0 || indexes.some((index) => word(index) === "")) return;
    confirm.mutate({ answers: indexes.map((index) => ({ index, word: word(index) })) });
  };

  return (
    <Card title={t.onboarding.check} step={{ n: 3, of: STEPS }}>
      <p className="-mt-3 text-sm text-soft">{t.onboarding.checkBody}</p>
      {challenge.error === null ? null : <Problem text={sentence(challenge.error)} />}
      {challenge.isPending ? <Skeleton rows={3} /> : null}
      <form noValidate onSubmit={submit} className="flex flex-col gap-4">
        {indexes.map((index, place) => (
          <Input
            key={index}
            label={t.onboarding.word(index + 1)}
            problem={tried && word(index) === "" ? t.onboarding.wordMissing : null}
            value={answers[index] ?? ""}
            maxLength={32}
            autoCapitalize="off"
            autoCorrect="off"
            autoFocus={place === 0}
            onChange={(event) => setAnswers({ ...answers, [index]: event.target.value })}
          />
        ))}
        {confirm.error === null ? null : <Problem text={sentence(confirm.error)} />}
        <Button type="submit" look="primary" wide busy={confirm.isPending}>
          {t.onboarding.checkButton}
        </Button>
        <Button look="quiet" wide onPress={onBack}>
          {t.onboarding.again}
        </Button>
      </form>
    </Card>
  );
}

function Community({ onDone }: { onDone: () => void }) {
  const [link, setLink] = useState("");
  const [tried, setTried] = useState(false);
  const add = useAction((body: { link: string }) => api.post<Relay>("/relays", body), {
    quiet: true,
    refresh: [keys.network],
    done: onDone,
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (link.trim() !== "") add.mutate({ link: link.trim() });
  };
  return (
    <Card title={t.onboarding.community} step={{ n: 4, of: STEPS }}>
      <p className="-mt-3 text-sm text-soft">{t.onboarding.communityBody}</p>
      <form noValidate onSubmit={submit} className="flex flex-col gap-4">
        <Input
          label={t.onboarding.communityLink}
          hint={t.onboarding.communityHint}
          problem={tried && link.trim() === "" ? t.onboarding.needLink : null}
          value={link}
          maxLength={4096}
          autoFocus
          onChange={(event) => setLink(event.target.value)}
        />
        {add.error === null ? null : <Problem text={sentence(add.error)} />}
        <Button type="submit" look="primary" wide busy={add.isPending}>
          {t.onboarding.joinCommunity}
        </Button>
      </form>
      <div className="flex flex-col gap-2 border-t border-line pt-4">
        <Button look="plain" wide onPress={onDone}>
          {t.onboarding.noCommunity}
        </Button>
        <p className="text-xs text-soft">{t.onboarding.noCommunityHint}</p>
      </div>
    </Card>
  );
}

type Props = {
  /** The vault is made and unlocked; only the community is left. */
  made: boolean;
  onMade: () => void;
  onDone: () => void;
};

export function Onboarding({ made, onMade, onDone }: Props) {
  const [words, setWords] = useState<string[] | null>(null);
  const [checking, setChecking] = useState(false);

  if (made) return <Community onDone={onDone} />;
  if (words === null) return <Identity onWords={setWords} />;
  if (!checking) return <Words words={words} onNext={() => setChecking(true)} />;
  return (
    <Check
      onBack={() => setChecking(false)}
      onConfirmed={() => {
        onMade();
        void client.invalidateQueries({ queryKey: keys.session });
      }}
    />
  );
}
