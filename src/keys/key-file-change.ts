/**
 * Changes a key file in place, so that whoever reads it at any moment finds either the old keys or the new ones, whole.
 * Two changes at a time would lose one of two new keys, or give both one id: the draft beside the file is also the lock.
 */
import { type FileHandle, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { EarshotError } from "../earshot-error.ts";
import { keyFileText, namingFile, readKeyFile } from "./key-file.ts";
import type { KeySchedule } from "./key-schedule.ts";

/** Only its owner may read it. */
export const KEY_FILE_MODE = 0o600;

/** Throws KEYS_FILE_BUSY and KEYS_FILE_WRITE, beside what `readKeyFile` and `change` throw. The file is then as it was. */
export async function changeKeyFile<T extends { readonly schedule: KeySchedule }>(
  file: string,
  change: (before: KeySchedule) => T,
): Promise<T> {
  // What does not exist, or cannot be used, is better said before there is a draft.
  await readKeyFile(file);
  // A link is to go on naming its file, not to become one.
  const target = await realpath(file);
  const draft = `${target}.new`;
  const handle = await openDraft(draft);
  let changed: T;
  try {
    const before = await readKeyFile(target);
    changed = namingFile(file, () => change(before));
    await writing(file, () => replace(target, draft, handle, keyFileText(changed.schedule)));
  } catch (error) {
    await handle.close();
    await rm(draft, { force: true });
    throw error;
  }
  // The new name has to survive a power cut too, or the fleet would know a key that this file has forgotten.
  await writing(file, () => syncFolder(dirname(target)));
  return changed;
}

async function openDraft(draft: string): Promise<FileHandle> {
  try {
    return await open(draft, "wx", KEY_FILE_MODE);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") {
      const what = `${draft} exists: another change of the keys is under way, or was cut short. Wait a moment; if it stays, remove it`;
      throw new EarshotError("KEYS_FILE_BUSY", what);
    }
    throw new EarshotError("KEYS_FILE_WRITE", `${draft} cannot be written: ${message}. The keys stay as they are`);
  }
}

async function replace(target: string, draft: string, handle: FileHandle, text: string): Promise<void> {
  // Whoever could read the keys of before must be able to read these.
  const [old, own] = await Promise.all([stat(target), handle.stat()]);
  if (old.uid !== own.uid || old.gid !== own.gid) await handle.chown(old.uid, old.gid);
  await handle.chmod(old.mode & 0o777);
  await handle.writeFile(text);
  await handle.sync();
  await handle.close();
  await rename(draft, target);
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  await handle.sync().finally(() => handle.close());
}

async function writing(file: string, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    const what = `${file} cannot be replaced: ${(error as Error).message}. Run this as the file's owner, in a folder that can be written`;
    throw new EarshotError("KEYS_FILE_WRITE", what);
  }
}
