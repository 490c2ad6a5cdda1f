"""The three carriers that this one program plays."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Brand:
    """`path` is where its interfaces live, `service_number` is who its text messages come from."""

    code: str
    path: str
    name_zh: str
    name_en: str
    service_number: str


BRANDS: Mapping[str, Brand] = {
    brand.path: brand
    for brand in (
        Brand(code="CMCC", path="cmcc", name_zh="中国移动", name_en="China Mobile", service_number="10086"),
        Brand(code="CUCC", path="cucc", name_zh="中国联通", name_en="China Unicom", service_number="10010"),
        Brand(code="CTCC", path="ctcc", name_zh="中国电信", name_en="China Telecom", service_number="10000"),
    )
}
BRAND_OF_CODE: Mapping[str, Brand] = {brand.code: brand for brand in BRANDS.values()}
