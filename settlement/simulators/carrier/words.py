"""The words of the phone screens, in Chinese and English."""

from collections.abc import Mapping

LANGUAGES: Mapping[str, str] = {"zh": "zh-CN", "en": "en"}

WORDS: Mapping[str, Mapping[str, str]] = {
    "zh": {
        "active": "正常",
        "app": "应用定向",
        "bill": "话费账单",
        "bill_refunded": "已退回",
        "bill_reserved": "已预留，未扣费",
        "bill_succeeded": "已计入账单",
        "carrier": "运营商",
        "country": "全国",
        "data": "流量",
        "distributable": "可分发一次，不可转售",
        "distributes": "企业分发",
        "expired": "已过期",
        "expires": "有效期至",
        "find": "查找",
        "keep": "自动刷新",
        "lines": "号码",
        "messages": "短信",
        "name": "姓名",
        "no_data": "没有流量",
        "no_lines": "没有符合条件的号码",
        "no_messages": "暂无短信",
        "number": "号码",
        "own": "可转让",
        "other": "English",
        "pause": "暂停刷新",
        "payment": "付费方式",
        "plan": "套餐",
        "postpaid": "后付费",
        "prepaid": "预付费",
        "province": "归属地",
        "received": "不可转让",
        "reserved": "已冻结",
        "search": "号码、姓名或套餐",
        "shown": "仅显示前 {count} 个，请输入更多文字。",
        "simulated": "模拟运营商 · 非真实号码",
        "status": "状态",
        "suspended": "停机",
        "time_zone": "时间为北京时间",
    },
    "en": {
        "active": "active",
        "app": "app",
        "bill": "Phone bill",
        "bill_refunded": "taken off again",
        "bill_reserved": "reserved, not charged",
        "bill_succeeded": "charged",
        "carrier": "Carrier",
        "country": "National",
        "data": "Data left",
        "distributable": "can be handed out once, not sold",
        "distributes": "distribution account",
        "expired": "expired",
        "expires": "until",
        "find": "Find",
        "keep": "Refresh by itself",
        "lines": "Lines",
        "messages": "Messages",
        "name": "Name",
        "no_data": "No data",
        "no_lines": "No line fits.",
        "no_messages": "No messages yet",
        "number": "Number",
        "own": "can be passed on",
        "other": "中文",
        "pause": "Stop refreshing",
        "payment": "Payment",
        "plan": "Plan",
        "postpaid": "postpaid",
        "prepaid": "prepaid",
        "province": "Province",
        "received": "cannot be passed on",
        "reserved": "set aside",
        "search": "Number, name or plan",
        "shown": "Only the first {count} are shown; type more to narrow it down.",
        "simulated": "Simulated carrier · no real number",
        "status": "State",
        "suspended": "suspended",
        "time_zone": "Times are Beijing times",
    },
}


def language_of(wanted: str | None, accept_language: str) -> str:
    """`zh` or `en`: what the address asks for, else the first of the two the browser prefers, else Chinese."""
    if wanted is not None and wanted in WORDS:
        return wanted
    for part in accept_language.split(","):
        primary = part.partition(";")[0].strip().lower().partition("-")[0]
        if primary in WORDS:
            return primary
    return "zh"
