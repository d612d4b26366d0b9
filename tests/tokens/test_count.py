"""Token counts: the published samples exactly, exotic text without a stall, and rules inside their stated bands."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchgen.extras import EXTRAS
from batchgen.tokens import count as tokens
from batchgen.tokens.count import counter_for, rough_tokens, template_bound, text_bound
from batchgen.tokens.scripts import BAND, count_by_script
from batchgen.tokens.vocabularies import Vocabulary, VocabularyMissing, openai_vocabulary, qwen_vocabulary
from batchgen.values import Prompt

QWEN = counter_for("qwen2-72b-instruct")


def chat(*turns):
    return Prompt(messages=[{"role": role, "content": content} for role, content in turns])


HELPFUL = ("system", "You are a helpful assistant.")


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        (chat(HELPFUL, ("user", "你是谁?")), 22),
        (chat(HELPFUL, ("user", "你是谁")), 21),
        (chat(("user", "你是谁?")), 11),
        (Prompt(text="你是谁?"), 11),
        (
            chat(HELPFUL, ("user", "你好"), ("assistant", "你好啊,我是通义千问。"), ("user", "你有哪些技能?")),
            43,
        ),
        (chat(HELPFUL, ("user", "用萝卜、土豆、茄子做饭,给我个菜谱")), 31),
        (chat(HELPFUL, ("user", "Who are you?")), 23),
        (chat(("system", "Answer in one word."), ("user", "What colour is the sky?")), 24),
        (Prompt(text="What colour is the sky?"), 14),
    ],
)
def test_sample_prompts(prompt, tokens):
    """Prompts printed in the vendor's documentation have the input tokens printed with them."""
    assert QWEN.count(prompt) == tokens


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        ("我是阿里云开发的一款超大规模语言模型,我叫通义千问。", 17),
        (
            "我是通义千问,由阿里云开发的AI助手。我被设计用来回答各种问题、提供信息和与用户进行对话。有什么我可以帮助你的吗?",
            36,
        ),
        (
            "我有以下技能:\n1. 回答问题:我可以回答各种领域的问题,包括但不限于科学、技术、文化、历史、地理等等。\n"
            "2. 生成文本:我可以根据给定的提示或主题生成文章、故事、诗歌等文本内容。\n"
            "3. 翻译语言:我可以将文本从一种语言翻译成另一种语言,支持多种语言之间的互译。\n"
            "4. 编写代码:我可以编写简单的代码片段,帮助用户解决编程方面的问题。\n"
            "5. 提供建议:我可以为用户提供各种建议,如生活、学习、工作等方面的建议。\n"
            "6. 聊天互动:我可以与用户进行自然语言的对话,提供陪伴和娱乐。\n\n"
            "这些只是我的一些基本技能,实际上我可以做更多的事情。如果你有任何问题或需要帮助,随时可以问我!",
            169,
        ),
        (
            "我有以下技能:\n1. 回答问题:我可以回答各种领域的问题,包括但不限于科学、技术、文化、历史、地理等等。\n"
            "2. 提供信息:我可以提供实时天气、新闻、股票等信息。\n"
            "3. 生成文本:我可以根据给定的提示或主题生成各种类型的文本,如故事、诗歌、文章等等。\n"
            "4. 翻译语言:我可以翻译多种语言,包括但不限于中文、英文、法文、西班牙文等等。\n"
            "5. 编写代码:我可以编写和解释各种编程语言的代码,如Python、Java、C++等等。\n"
            "6. 提供建议:我可以提供各种生活、工作、学习等方面的建议和指导。\n\n"
            "总之,我的技能非常广泛,只要你需要,我都可以尽力帮助你。",
            163,
        ),
        (
            "材料:\n- 萝卜:2根\n- 土豆:2个\n- 茄子:2个\n- 大葱:1根\n- 姜:适量\n- 蒜:适量\n- 食用油:适量\n- 盐:适量\n"
            "- 生抽:适量\n- 蚝油:适量\n\n做法:\n\n1. 将萝卜、土豆、茄子分别洗净去皮,切成块状备用。\n"
            "2. 大葱切段,姜切片,蒜切末备用。\n3. 烧热锅,加入适量的食用油,放入葱段、姜片、蒜末爆香。\n"
            "4. 加入萝卜块,翻炒几分钟,加入适量的盐、生抽调味。\n5. 加入土豆块,继续翻炒几分钟,加入适量的盐、生抽调味。\n"
            "6. 加入茄子块,继续翻炒几分钟,加入适量的盐、生抽调味。\n"
            "7. 加入适量的蚝油,翻炒均匀,让每一块蔬菜都均匀地裹上蚝油。\n"
            "8. 翻炒几分钟,让蔬菜熟透,即可出锅。\n\n这道菜色香味俱佳,营养丰富,可以作为主食或配菜食用。",
            267,
        ),
        (
            "Hello! I'm Qwen, a large-scale language model independently developed by the Tongyi Lab under Alibaba "
            "Group. I can answer questions, create text such as stories, official documents, emails, scripts, perform "
            "logical reasoning, coding, and more. I can also express opinions and play games. I support 100 languages, "
            "including but not limited to Chinese, English, German, French, Spanish, etc., meeting international usage "
            "needs. If you have any questions or need assistance, feel free to let me know anytime!",
            106,
        ),
    ],
)
def test_sample_answers(answer, tokens):
    """Answers printed in the vendor's documentation have the output tokens printed with them."""
    assert QWEN.count_text(answer) == tokens


def test_control_tokens_in_text_are_text():
    """A user who writes a control token's name gets it counted letter by letter."""
    plain = QWEN.count(chat(("user", "")))
    assert QWEN.count(chat(("user", "<|im_end|>"))) - plain == 6


def test_a_leading_line_end_merges_with_the_template():
    """The rendered message is tokenized as a whole, not role and content apart."""
    assert QWEN.count(chat(("user", "\nhi"))) == QWEN.count(chat(("user", "hi")))


def test_parts_history_and_tools_count():
    """Text parts count like one text, history like messages, and the tools of job or row with their JSON."""
    parts = [{"type": "text", "text": "你是"}, {"text": "谁?"}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert QWEN.count(chat(("user", parts))) == 11
    old = Prompt(text="c", history=[{"user": "a", "bot": "b"}])
    assert QWEN.count(old) == QWEN.count(chat(("user", "a"), ("assistant", "b"), ("user", "c")))
    tool = {"type": "function", "function": {"name": "weather", "description": "天气", "parameters": {}}}
    plain = chat(("user", "hi"))
    with_tool = QWEN.count(plain, {"tools": [tool]})
    assert with_tool > QWEN.count(plain) + tokens.TOOLS_FRAME + 10
    assert QWEN.count(plain, {"tools": [tool, tool]}) > with_tool + 10
    own = Prompt(messages=plain.messages, parameters={"tools": []})
    assert QWEN.count(own, {"tools": [tool]}) == QWEN.count(plain)
    calls = [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}]
    called = Prompt(messages=[*plain.messages, {"role": "assistant", "content": None, "tool_calls": calls}])
    assert QWEN.count(called) > QWEN.count(plain) + 15
    answered = Prompt(messages=[*called.messages, {"role": "tool", "content": "cold", "tool_call_id": "1"}])
    assert QWEN.count(answered) == QWEN.count(called) + 10


def test_composed_and_decomposed_letters_count_alike():
    """Qwen's tokenizer normalizes to NFC first."""
    text = "Müller fährt nach Århus, ça va"
    assert QWEN.count_text(unicodedata.normalize("NFD", text)) == QWEN.count_text(text)


ALPHABET = "abzÄé中文あ१2٣½ _-.,'’s/!\n\t\u3000😀\u0301"
SHORT = Vocabulary(qwen_vocabulary().encoding, normalize=True, longest=64)


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from(ALPHABET), max_size=20), max_size=60))
@example(["it's, we'll "] * 30)
@example(["a    b."] * 60)
@example(["x \n\n  y"] * 60)
def test_slices_change_no_count(parts):
    """A long text is cut for the tokenizer's sake only where its own pieces end."""
    text = unicodedata.normalize("NFC", " and ".join(parts))
    assert SHORT.count(text) == len(SHORT.encoding.encode_ordinary(text))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (" " * 1_000_000, 7_813),
        ("\n" * 1_000_000, 31_250),
        ("a" * 10_000_000, 1_250_000),
        ("1" * 1_000_000, 1_000_000),
        ("=" * 2_000_000, 31_250),
        ("\ud800" * 100_000, 25_000),
        ("a\ud800b", 3),
        ("\x00" * 1_000, 1_000),
        ("", 0),
    ],
)
def test_exotic_text_neither_panics_nor_stalls(text, tokens):
    """Walls of one character are counted, to within the few tokens a cut costs, in seconds."""
    start = time.perf_counter()
    assert QWEN.count_text(text) == pytest.approx(tokens, rel=0.01)
    assert counter_for("some-other-llm").count_text(text) >= bool(text)
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize(
    ("model", "name", "method"),
    [
        ("qwen-plus", "Qwen vocabulary", "exact"),
        ("qwen3-max", "Qwen vocabulary", "exact"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen vocabulary", "exact"),
        ("qwen-72b-chat", "Qwen vocabulary", "exact"),
        ("qwq-plus", "Qwen vocabulary", "exact"),
        ("qwen3.5-plus", "Qwen vocabulary (up to Qwen3)", "rule"),
        ("qwen4-max", "Qwen vocabulary (up to Qwen3)", "rule"),
        ("deepseek-v4-pro", "characters by script", "rule"),
        ("meta-llama/Llama-9", "characters by script", "rule"),
    ],
)
def test_each_model_has_its_counter(model, name, method):
    """Only a model's own vocabulary is called exact; anything else has a band."""
    counter = counter_for(model)
    assert (counter.name, counter.method) == (name, method)
    low, high = counter.band
    assert low <= 1 <= high
    assert (low == high) == (method == "exact")


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_openai_tables_are_never_downloaded(tmp_path, monkeypatch, content):
    """Without a whole table in tiktoken's cache the rule counts, and the cache is left as it was."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    openai_vocabulary.cache_clear()
    counter_for.cache_clear()
    # The file's name is the SHA-1 of the table's address.
    table = tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790"
    if content is not None:
        table.write_bytes(content)
    counter = counter_for("gpt-4o")
    assert (counter.name, counter.method) == ("characters by script", "rule")
    assert counter.note is not None
    assert "o200k_base is not in tiktoken's cache" in counter.note
    assert list(tmp_path.iterdir()) == ([] if content is None else [table])
    counter_for.cache_clear()


@pytest.mark.parametrize("package", ["tiktoken", "dashscope"])
def test_without_the_extra_the_rule_counts(package):
    """A missing package is said in plain words, and dashscope is never imported."""
    script = (
        "import importlib.util, sys\n"
        f"find = importlib.util.find_spec\n"
        f"sys.modules.update({{'tiktoken': None}} if {package!r} == 'tiktoken' else {{}})\n"
        f"importlib.util.find_spec = lambda name: None if name == {package!r} else find(name)\n"
        "from batchgen.tokens.count import counter_for\n"
        "counter = counter_for('qwen-plus')\n"
        "print(counter.method, counter.note, 'dashscope' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("rule Not counted with the model's own vocabulary: ")
    assert f"install '{EXTRAS['estimate'][package]}'" in done.stdout
    assert done.stdout.endswith("False\n")


def test_a_damaged_vocabulary_is_named(tmp_path, monkeypatch):
    """A file of another length than Qwen's is not counted with."""
    package = tmp_path / "dashscope"
    (package / "resources").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "resources" / "qwen.tiktoken").write_text("IQ== 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "dashscope", raising=False)
    qwen_vocabulary.cache_clear()
    with pytest.raises(VocabularyMissing, match="has 1 entries, not 151643"):
        qwen_vocabulary()
    qwen_vocabulary.cache_clear()


TEXTS = {
    "English": "Hi there, I ordered a pair of headphones last week and they still haven't arrived. The tracking page "
    "hasn't changed in three days, so could you please check what is going on? If the parcel is lost I'd rather have "
    "my money back.",
    "German": "Guten Tag, ich habe letzte Woche Kopfhörer bestellt und sie sind noch immer nicht angekommen. Die "
    "Sendungsverfolgung hat sich seit drei Tagen nicht geändert, könnten Sie bitte nachsehen, was da los ist?",
    "French": "Bonjour, j'ai commandé un casque la semaine dernière et il n'est toujours pas arrivé. La page de suivi "
    "n'a pas changé depuis trois jours, pourriez-vous vérifier ce qui se passe ?",
    "Polish": "Dzień dobry, w zeszłym tygodniu zamówiłem słuchawki i nadal ich nie dostałem. Strona śledzenia nie "
    "zmieniła się od trzech dni, czy mogliby Państwo sprawdzić, co się dzieje?",
    "Russian": "Здравствуйте, на прошлой неделе я заказал наушники, и они до сих пор не пришли. Страница отслеживания "
    "не менялась три дня, не могли бы вы проверить, что происходит?",
    "Arabic": "مرحبا، أريد أن أعرف متى يصل الطلب الذي أرسلته الأسبوع الماضي. لم أتلق أي رسالة من المتجر.",
    "Hindi": "नमस्ते, मैं जानना चाहता हूँ कि पिछले सप्ताह का मेरा ऑर्डर कब पहुँचेगा। दुकान से कोई संदेश नहीं मिला।",
    "Thai": "สวัสดีครับ ผมอยากทราบว่าสินค้าที่สั่งไปเมื่อสัปดาห์ที่แล้วจะมาถึงเมื่อไร",
    "Japanese": "先週注文した商品がまだ届いておりません。追跡番号を確認しましたが、三日間更新されていないようです。",
    "Korean": "지난주에 헤드폰을 주문했는데 아직 도착하지 않았습니다. 배송 조회 페이지가 사흘째 그대로입니다.",
    "Chinese": "你好,我上周在你们店里买的耳机到现在还没有收到,物流信息三天没有更新了。能不能帮我查一下?",
    "code": "def settle(self, reserved: Decimal, actual: Decimal) -> None:\n    self._reserved -= reserved\n"
    "    if actual > 0:\n        self._spent += actual\n",
    "JSON": '[{"id": 17, "name": "Anna", "price": 129.95, "tags": ["new", "sale"], "at": "2026-11-03T08:15:00Z"}]',
}


@pytest.mark.parametrize("language", TEXTS)
def test_the_rule_keeps_its_band(language):
    """Against the one vocabulary at hand, the rule is within its band in every script."""
    low, high = BAND
    rule = count_by_script(TEXTS[language])
    assert rule * low <= QWEN.count_text(TEXTS[language]) <= rule * high


ANYTHING = st.text(st.characters(codec=None), max_size=200)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), ANYTHING), max_size=4))
@example([("user", "\U0001d160" * 2_000)])
@example([("user", "\ud800")])
def test_no_count_passes_the_upper_bound(turns):
    """Whatever the text, with tools or without, the bytes of the request bound its tokens."""
    prompt = chat(*turns)
    tools = {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": "ü"}}}]}
    for parameters in ({}, tools):
        body = json.dumps({"messages": list(prompt.messages), **parameters}, ensure_ascii=False, separators=(",", ":"))
        bound = text_bound(body.encode("utf-8", "replace"), template_bound(parameters))
        assert QWEN.count(prompt, parameters) <= bound


def test_tools_of_an_extra_body_count():
    """They reach the provider as those beside them do."""
    tools = {"tools": [{"type": "function", "function": {"name": "look_up"}}]}
    prompt = chat(("user", "hi"))
    assert QWEN.count(prompt, {"extra_body": tools}) == QWEN.count(prompt, tools) > QWEN.count(prompt)


@pytest.mark.parametrize("language", ["English", "German", "French", "Japanese", "Korean", "Chinese", "code"])
def test_a_rough_guess_is_within_a_factor_of_two(language):
    """The pacer's guess, from characters or from bytes, has the right size."""
    text = TEXTS[language]
    true = QWEN.count_text(text)
    for guess in (rough_tokens(text), rough_tokens(len(text.encode()))):
        assert true / 2 <= guess <= true * 2
